//! JSON Web Keys: the examples of the RFCs, with the signatures that stand there.
//!
//! What lives here: keys and results from RFC 7515, RFC 7517 and RFC 8037.
//! What must never live here: a value that no RFC has, but for the wrong ones.
//! Who calls it: the suite.

use std::fs;

use base64ct::{Base64UrlUnpadded, Encoding};
use cryptoki_sys::*;
use strongroom_tests::{Mechanism, Way};

use super::Bench;

/// RFC 7515, A.1.1.
const HMAC: &str = r#"{"kty":"oct", "kid":"hmac", "alg":"HS256",
 "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const HMAC_INPUT: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const HMAC_RESULT: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 7515, A.2.1.
const RSA: &str = r#"{"kty":"RSA", "kid":"rsa", "use":"sig",
 "n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
 "e":"AQAB",
 "d":"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
 "p":"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
 "q":"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
 "dp":"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
 "dq":"h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
 "qi":"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"}"#;
const RSA_INPUT: &str = "eyJhbGciOiJSUzI1NiJ9.\
 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RSA_RESULT: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/// RFC 8037, A.1 and A.4.
const ED25519: &str = r#"{"kty":"OKP", "crv":"Ed25519", "kid":"ed25519",
 "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const ED25519_INPUT: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const ED25519_RESULT: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// RFC 7515, A.3.1; and RFC 7517, A.3.
const P256: &str = r#"{"kty":"EC", "crv":"P-256", "kid":"p256", "key_ops":["sign"],
 "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
 "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const AES: &str = r#"{"kty":"oct", "alg":"A128KW", "kid":"aes", "k":"GawgguFyGrWKav7AX4VKUg"}"#;

#[test]
fn keys_of_the_rfcs_make_the_signatures_of_the_rfcs() {
    let bench = Bench::new();
    let set = format!("{{\"keys\":[{HMAC},{RSA},{ED25519},{P256},{AES}]}}");
    fs::write(bench.files.join("set.json"), set).unwrap();
    let told = bench.import("jwk set.json").well();
    assert_eq!(told.lines("brought").len(), 8, "{}", told.report);
    let session = bench.work.user();
    for (class, label, mechanism, input, expected) in [
        (
            CKO_SECRET_KEY,
            "hmac",
            CKM_SHA256_HMAC,
            HMAC_INPUT,
            HMAC_RESULT,
        ),
        (
            CKO_PRIVATE_KEY,
            "rsa",
            CKM_SHA256_RSA_PKCS,
            RSA_INPUT,
            RSA_RESULT,
        ),
        (
            CKO_PRIVATE_KEY,
            "ed25519",
            CKM_EDDSA,
            ED25519_INPUT,
            ED25519_RESULT,
        ),
    ] {
        let key = bench.object(&session, class, label);
        assert_eq!(session.attribute(key, CKA_ID).unwrap(), label.as_bytes());
        let made = session
            .run(
                Way::Sign,
                Mechanism::plain(mechanism),
                key,
                input.as_bytes(),
            )
            .unwrap();
        assert_eq!(Base64UrlUnpadded::encode_string(&made), expected, "{label}");
    }
    // What a key is for says the key.
    let rsa = bench.object(&session, CKO_PRIVATE_KEY, "rsa");
    assert!(session.flag(rsa, CKA_SIGN).unwrap() && !session.flag(rsa, CKA_DECRYPT).unwrap());
    let private = bench.object(&session, CKO_PRIVATE_KEY, "p256");
    let public = bench.object(&session, CKO_PUBLIC_KEY, "p256");
    assert!(
        session.flag(private, CKA_SIGN).unwrap() && !session.flag(private, CKA_DERIVE).unwrap()
    );
    assert!(session.flag(public, CKA_VERIFY).unwrap());
    let aes = bench.object(&session, CKO_SECRET_KEY, "aes");
    assert_eq!(session.number(aes, CKA_KEY_TYPE).unwrap(), CKK_AES);
    let data = b"by our P-256";
    let made = session
        .run(Way::Sign, Mechanism::plain(CKM_ECDSA_SHA256), private, data)
        .unwrap();
    session
        .verify(Mechanism::plain(CKM_ECDSA_SHA256), public, data, &made)
        .unwrap();
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_changed() {
    let bench = Bench::new();
    let mixed = P256.replace(
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1",
    );
    let swapped = ED25519.replace("nWGx", "nWGy");
    for (text, words) in [
        ("{", "no JSON Web Key"),
        ("[]", "no JSON Web Key"),
        (&P256[..P256.len() - 20], "no JSON Web Key"),
        (&swapped, "belong to different keys"),
        (&mixed, ""),
        (&HMAC.replace("AyM1", "A*M1"), "no base64url"),
        (&P256.replace("\"x\":\"f83O", "\"x\":\"f8"), ""),
    ] {
        fs::write(bench.files.join("key.json"), text).unwrap();
        bench.refuses("jwk key.json", words);
        let told = bench.import("jwk key.json");
        assert!(
            !told.said.contains("nWGy") && !told.said.contains("jpsQ"),
            "{}",
            told.said
        );
    }
    fs::write(bench.files.join("key.json"), P256.replace("P-256", "P-999")).unwrap();
    let told = bench.import("jwk key.json");
    assert_eq!(told.code, 4, "{}", told.said);
    assert!(told.lines("refused")[0].2.contains("P-999"));
}
