/*
 * Opens the envelope of a released key: docs/release-format.md, by OpenSSL and jansson.
 *
 *     open --root root.pem --kek kek.pem [--host HOST] [--nonce NONCE] ENVELOPE
 *
 * ENVELOPE is a file with the compact JWS, or with {"value": "..."}; - is standard input. The root is the one that `strongroom release root`
 * printed where the key was released. What comes out is looked at and wiped. Ends with 0 if all is right, else with 1 and the reason.
 *
 * cc -Wall -Wextra -Werror -o open open.c -ljansson -lcrypto
 */

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_MAX_BYTES = 1024 * 1024, CHAIN_MAX = 6, AES_BYTES = 32 };

/* Nothing is cleaned up on this way: the process ends. */
static void refuse(const char *why)
{
    fprintf(stderr, "open: %s\n", why);
    exit(1);
}

static void need(int good, const char *why)
{
    if (!good)
        refuse(why);
}

struct bytes {
    unsigned char *data;
    size_t length;
};

/* Base64 in one of its two alphabets; padding where the alphabet is the usual one. */
static struct bytes decoded(const char *text, size_t length, int url)
{
    static const char usual[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char of_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *alphabet = url ? of_urls : usual;
    struct bytes out = {malloc(length + 1), 0};
    unsigned value = 0;
    int bits = 0;
    size_t i;

    need(out.data != NULL, "no memory");
    if (!url)
        while (length > 0 && text[length - 1] == '=')
            length--;
    for (i = 0; i < length; i++) {
        const char *place = text[i] ? strchr(alphabet, text[i]) : NULL;
        need(place != NULL, "something is no base64");
        value = value << 6 | (unsigned)(place - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out.data[out.length++] = (unsigned char)(value >> bits);
            value &= (1u << bits) - 1;
        }
    }
    /* One character alone is no byte, and the bits that are left over are zeros. */
    need(bits < 6 && value == 0, "something is no base64");
    return out;
}

static json_t *object(const char *data, size_t length, const char *why)
{
    json_t *value = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);

    need(value != NULL && json_is_object(value), why);
    return value;
}

static json_t *member(json_t *parent, const char *name)
{
    json_t *value = json_object_get(parent, name);

    if (value == NULL) {
        fprintf(stderr, "open: the envelope has no member %s\n", name);
        exit(1);
    }
    return value;
}

static const char *string(json_t *parent, const char *name)
{
    const char *text = json_string_value(member(parent, name));

    need(text != NULL, "a member is no text");
    return text;
}

static struct bytes number(json_t *parent, const char *name)
{
    const char *text = string(parent, name);

    return decoded(text, strlen(text), 1);
}

static char *envelope_of(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char *text = malloc(SIZE_MAX_BYTES + 2);
    size_t length, skip;

    need(file != NULL && text != NULL, "cannot read the envelope");
    length = fread(text, 1, SIZE_MAX_BYTES + 1, file);
    need(!ferror(file), "cannot read the envelope");
    need(length <= SIZE_MAX_BYTES, "the envelope has more than 1 MiB");
    text[length] = 0;
    while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
        text[--length] = 0;
    skip = strspn(text, " \t\r\n");
    if (text[skip] == '{')
        return strdup(string(object(text + skip, length - skip, "the envelope is no JSON object"), "value"));
    return text + skip;
}

/* The signer's certificate: the first of x5c, once OpenSSL has led it to the pinned root, for this host, now. */
static X509 *signer(json_t *header, X509 *root, const char *host)
{
    json_t *chain = member(header, "x5c"), *thumbprint = json_object_get(header, "x5t#S256");
    size_t count = json_array_size(chain), i;
    STACK_OF(X509) *others = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    STACK_OF(X509) *way;
    X509 *leaf = NULL;
    int step;

    need(count >= 1 && count <= CHAIN_MAX, "x5c has no certificate, or too many");
    need(others != NULL && store != NULL && context != NULL, "no memory");
    for (i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(chain, i));
        struct bytes der;
        const unsigned char *place;
        X509 *link;

        need(text != NULL, "x5c has something that is no certificate");
        der = decoded(text, strlen(text), 0);
        place = der.data;
        link = d2i_X509(NULL, &place, (long)der.length);
        need(link != NULL && place == der.data + der.length, "x5c has something that is no certificate");
        if (i == 0)
            leaf = link;
        else
            need(sk_X509_push(others, link) > 0, "no memory");
    }
    if (thumbprint != NULL) {
        unsigned char hash[EVP_MAX_MD_SIZE];
        unsigned length = 0;
        struct bytes told = number(header, "x5t#S256");

        need(X509_digest(leaf, EVP_sha256(), hash, &length) == 1, "a hash fails");
        need(told.length == length && memcmp(told.data, hash, length) == 0, "x5t#S256 is not of the first certificate");
    }
    /* The pinned one alone is believed: the others are only what the way may lead over. */
    need(X509_STORE_add_cert(store, root) == 1, "the root is no certificate");
    need(X509_STORE_CTX_init(context, store, leaf, others) == 1, "no memory");
    need(X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(context), host, 0) == 1, "no memory");
    /* A host is a DNS name of the certificate: not its subject, and not what a star within a label might stand for. */
    X509_VERIFY_PARAM_set_hostflags(X509_STORE_CTX_get0_param(context),
                                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_verify_cert(context) != 1) {
        int error = X509_STORE_CTX_get_error(context);

        if (error == X509_V_ERR_HOSTNAME_MISMATCH)
            refuse("the signer's certificate is for another host");
        fprintf(stderr, "open: the certificates do not lead to the pinned root: %s\n", X509_verify_cert_error_string(error));
        exit(1);
    }
    need(!(X509_get_extension_flags(leaf) & EXFLAG_CA), "the signer's certificate is that of an authority");
    need(X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE, "the signer's certificate is not for signatures");
    /* RFC 7515, 4.1.6: each certifies the one before it. OpenSSL would find its way in any order. */
    way = X509_STORE_CTX_get0_chain(context);
    for (step = 1; step + 1 < sk_X509_num(way); step++)
        need(step <= sk_X509_num(others) && X509_cmp(sk_X509_value(way, step), sk_X509_value(others, step - 1)) == 0,
             "the certificates are not in their order");
    return leaf;
}

/* Whether the signer's key has signed the first two parts, by one of six algorithms. */
static void verify(const char *name, X509 *leaf, const char *message, size_t length, struct bytes signature)
{
    EVP_PKEY *key = X509_get0_pubkey(leaf);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *parameters = NULL;
    const EVP_MD *hash = strcmp(name + 2, "256") == 0 ? EVP_sha256() : strcmp(name + 2, "384") == 0 ? EVP_sha384() : EVP_sha512();

    need(key != NULL && EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= 2048,
         "the signer's key is no RSA key of 2048 bits or more");
    need(context != NULL && EVP_DigestVerifyInit(context, &parameters, hash, NULL, key) == 1, "no memory");
    if (name[0] == 'P') {
        need(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
                 EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1,
             "no PSS");
    }
    need(EVP_DigestVerify(context, signature.data, signature.length, (const unsigned char *)message, length) == 1,
         "the signature is not right");
    EVP_MD_CTX_free(context);
}

/* What was encrypted, by the place's private key: OAEP, then RFC 5649. */
static struct bytes unwrapped(json_t *key, EVP_PKEY *kek)
{
    struct bytes inside = number(key, "key_hsm"), ciphertext, secret = {NULL, 0};
    json_t *hsm = object((const char *)inside.data, inside.length, "key_hsm is no JSON object");
    const char *name = string(member(hsm, "header"), "enc");
    const EVP_MD *hash = strcmp(name, "CKM_RSA_AES_KEY_WRAP") == 0   ? EVP_sha1()
                         : strcmp(name, "RSA_AES_KEY_WRAP_256") == 0 ? EVP_sha256()
                         : strcmp(name, "RSA_AES_KEY_WRAP_384") == 0 ? EVP_sha384()
                                                                     : NULL;
    EVP_PKEY_CTX *oaep = EVP_PKEY_CTX_new(kek, NULL);
    EVP_CIPHER_CTX *kwp = EVP_CIPHER_CTX_new();
    size_t first = (size_t)EVP_PKEY_get_size(kek), got = first;
    unsigned char *temporary = malloc(first);
    int length = 0, last = 0;

    need(hash != NULL, "this encryption is not known");
    ciphertext = number(hsm, "ciphertext");
    need(ciphertext.length > first, "the private key does not decrypt it");
    need(oaep != NULL && kwp != NULL && temporary != NULL, "no memory");
    need(EVP_PKEY_decrypt_init(oaep) == 1 && EVP_PKEY_CTX_set_rsa_padding(oaep, RSA_PKCS1_OAEP_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_oaep_md(oaep, hash) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(oaep, hash) == 1,
         "no OAEP");
    need(EVP_PKEY_decrypt(oaep, temporary, &got, ciphertext.data, first) == 1 && got == AES_BYTES,
         "the private key does not decrypt it");
    secret.data = malloc(ciphertext.length);
    need(secret.data != NULL, "no memory");
    EVP_CIPHER_CTX_set_flags(kwp, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    need(EVP_DecryptInit_ex(kwp, EVP_aes_256_wrap_pad(), NULL, temporary, NULL) == 1, "no RFC 5649");
    need(EVP_DecryptUpdate(kwp, secret.data, &length, ciphertext.data + first, (int)(ciphertext.length - first)) == 1 &&
             EVP_DecryptFinal_ex(kwp, secret.data + length, &last) == 1,
         "the private key does not decrypt it");
    secret.length = (size_t)(length + last);
    OPENSSL_cleanse(temporary, first);
    free(temporary);
    EVP_PKEY_CTX_free(oaep);
    EVP_CIPHER_CTX_free(kwp);
    return secret;
}

/* Whether a number of a key is the one that was signed for. */
static void same(EVP_PKEY *private, const char *parameter, json_t *key, const char *name)
{
    struct bytes told = number(key, name);
    BIGNUM *is = NULL, *said = BN_bin2bn(told.data, (int)told.length, NULL);

    need(said != NULL && EVP_PKEY_get_bn_param(private, parameter, &is) == 1, "what was encrypted is a key of another kind");
    need(BN_cmp(is, said) == 0, "what was encrypted is another key than was signed for");
    BN_free(is);
    BN_free(said);
}

static void described(json_t *key, struct bytes secret)
{
    const char *kty = string(key, "kty"), *kid = string(key, "kid");
    const unsigned char *place = secret.data;
    EVP_PKEY *private;

    if (strcmp(kty, "oct") == 0 || strcmp(kty, "oct-HSM") == 0) {
        printf("%s: oct of %zu bits\n", kid, secret.length * 8);
        return;
    }
    private = d2i_AutoPrivateKey(NULL, &place, (long)secret.length);
    need(private != NULL, "what was encrypted is no private key");
    if (strcmp(kty, "RSA") == 0 || strcmp(kty, "RSA-HSM") == 0) {
        same(private, OSSL_PKEY_PARAM_RSA_N, key, "n");
        same(private, OSSL_PKEY_PARAM_RSA_E, key, "e");
        printf("%s: RSA of %d bits\n", kid, EVP_PKEY_get_bits(private));
    } else if (strcmp(kty, "EC") == 0 || strcmp(kty, "EC-HSM") == 0) {
        same(private, OSSL_PKEY_PARAM_EC_PUB_X, key, "x");
        same(private, OSSL_PKEY_PARAM_EC_PUB_Y, key, "y");
        printf("%s: EC on %s\n", kid, string(key, "crv"));
    } else {
        refuse("this type of key is not known");
    }
    EVP_PKEY_free(private);
}

/* The host of https://HOST/..., without its port. */
static char *host_of(const char *address)
{
    const char *begin = address + strlen("https://");
    size_t length;

    need(strncmp(address, "https://", strlen("https://")) == 0, "request.kid is no address of a key");
    length = strcspn(begin, ":/");
    need(length > 0, "request.kid is no address of a key");
    return strndup(begin, length);
}

static void *read_pem(const char *path, int is_key)
{
    FILE *file = fopen(path, "rb");
    void *found;

    need(file != NULL, "cannot read the root or the private key");
    found = is_key ? (void *)PEM_read_PrivateKey(file, NULL, NULL, NULL) : (void *)PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    need(found != NULL, "the root is no certificate, or the private key none");
    return found;
}

int main(int count, char **words)
{
    static const char *const known[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};
    const char *root = NULL, *kek = NULL, *host = NULL, *nonce = NULL, *path = NULL, *algorithm;
    char *envelope, *second, *third;
    struct bytes part, secret;
    json_t *header, *payload, *request, *key;
    X509 *leaf;
    size_t i;
    int word, listed = 0;

    for (word = 1; word < count; word++) {
        const char **value = strcmp(words[word], "--root") == 0    ? &root
                             : strcmp(words[word], "--kek") == 0   ? &kek
                             : strcmp(words[word], "--host") == 0  ? &host
                             : strcmp(words[word], "--nonce") == 0 ? &nonce
                                                                   : &path;
        if (value != &path)
            word++;
        need(word < count && *value == NULL, "usage: open --root FILE --kek FILE [--host HOST] [--nonce NONCE] ENVELOPE");
        *value = words[word];
    }
    need(root && kek && path, "usage: open --root FILE --kek FILE [--host HOST] [--nonce NONCE] ENVELOPE");
    envelope = envelope_of(path);
    second = strchr(envelope, '.');
    third = second == NULL ? NULL : strchr(second + 1, '.');
    need(third != NULL && strchr(third + 1, '.') == NULL, "the envelope is not of three parts");

    part = decoded(envelope, (size_t)(second - envelope), 1);
    header = object((const char *)part.data, part.length, "the header is no JSON object");
    algorithm = string(header, "alg");
    for (i = 0; i < sizeof known / sizeof *known; i++)
        listed |= strcmp(algorithm, known[i]) == 0;
    need(listed, "the algorithm is none of RS256, RS384, RS512, PS256, PS384, PS512");

    need(json_object_get(header, "crit") == NULL, "the header has critical members, which are not known here");

    /* The host stands in what is not verified yet; whom it names must have signed it, so a changed one gains nothing. */
    part = decoded(second + 1, (size_t)(third - second - 1), 1);
    payload = object((const char *)part.data, part.length, "the payload is no JSON object");
    request = member(payload, "request");
    leaf = signer(header, read_pem(root, 0), host ? host : host_of(string(request, "kid")));
    verify(algorithm, leaf, envelope, (size_t)(third - envelope), decoded(third + 1, strlen(third + 1), 1));
    if (nonce != NULL) {
        const char *told = json_string_value(json_object_get(request, "nonce"));

        need(told != NULL && strcmp(told, nonce) == 0, "the nonce is another");
    }

    key = member(member(member(payload, "response"), "key"), "key");
    secret = unwrapped(key, read_pem(kek, 1));
    described(key, secret);
    OPENSSL_cleanse(secret.data, secret.length);
    return 0;
}
