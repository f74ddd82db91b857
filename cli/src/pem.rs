//! Certificates as text (RFC 7468).
//!
//! What lives here: the lines around base64.
//! What must never live here: what a certificate says.
//! Who calls it: commands that read and write certificates.

use base64ct::{Base64, Encoding as _};

/// All certificates of a text, in DER; other blocks are passed over.
///
/// # Errors
/// What is wrong, in words.
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (block, after) = after
            .split_once(END)
            .ok_or("a certificate has no END line")?;
        let digits: String = block.split_ascii_whitespace().collect();
        let der = Base64::decode_vec(&digits).map_err(|_| "a certificate is no base64")?;
        all.push(der);
        rest = after;
    }
    if all.is_empty() {
        return Err("there is no certificate in PEM".to_owned());
    }
    Ok(all)
}

/// A certificate in PEM.
#[must_use]
pub fn certificate(der: &[u8]) -> String {
    let digits = Base64::encode_string(der);
    let mut text = format!("{BEGIN}\n");
    for line in digits.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [vec![1; 100], vec![2; 3]];
        let text = format!("words\n{}\n{}", certificate(&all[0]), certificate(&all[1]));
        assert_eq!(certificates(&text).unwrap(), all);
        assert!(certificate(&all[0]).lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn what_is_cut_or_empty_is_named() {
        let whole = certificate(&[1; 100]);
        for text in [
            "",
            "words",
            &whole[..whole.len() - 5],
            &whole.replace("AQ", "?!"),
        ] {
            assert!(certificates(text).is_err(), "{text}");
        }
    }
}
