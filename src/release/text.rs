//! *What lives here:* base64url without padding (RFC 7515, 2; RFC 4648, 5), and names of authorities in their one form. *What must never
//! live here:* what the bytes mean. *Who calls it:* the other files of the release.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

/// The bytes of base64url text; none when it is none. Padding is refused, as RFC 7515 has it.
pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(text).ok()
}

/// Bytes as base64url text.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Bytes as base64 with padding: the form of certificates in a header (RFC 7515, 4.1.6).
pub(crate) fn standard(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// The bytes of base64 text with padding; none when it is none.
pub(crate) fn standard_decoded(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}

/// The one form of an authority's name: scheme and host in lower case, without one slash at the end. None for what is no URL.
pub(crate) fn authority_form(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once(':')?;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let named = scheme
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    let printable = url.bytes().all(|byte| byte.is_ascii_graphic());
    if !named || !scheme.bytes().all(word) || !printable {
        return None;
    }
    let short = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    let scheme = scheme.to_ascii_lowercase();
    let Some(place) = rest.strip_prefix("//") else {
        return Some(format!("{scheme}:{}", short(rest)));
    };
    let (host, path) = place.split_at(place.find(['/', '?', '#']).unwrap_or(place.len()));
    let host = host.to_ascii_lowercase();
    (!host.is_empty()).then(|| format!("{scheme}://{host}{}", short(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_one_form() {
        for (url, form) in [
            ("https://A.Example", Some("https://a.example")),
            ("HTTPS://a.example/", Some("https://a.example")),
            ("https://a.example//", Some("https://a.example/")),
            (
                "https://a.example/Tenant/",
                Some("https://a.example/Tenant"),
            ),
            ("https://a.example/tenant", Some("https://a.example/tenant")),
            ("local:", Some("local:")),
            ("local:/", Some("local:")),
            ("https://", None),
            ("https:///path", None),
            ("no scheme", None),
            ("https://a b", None),
            ("1a:b", None),
            ("", None),
        ] {
            assert_eq!(authority_form(url).as_deref(), form, "{url}");
        }
    }

    #[test]
    fn base64url_has_no_padding() {
        assert_eq!(encoded(&[0xfb, 0xff]), "-_8");
        assert_eq!(decoded("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(decoded("-_8="), None);
        assert_eq!(decoded("+/8"), None);
        assert_eq!(standard(&[0xfb, 0xff]), "+/8=");
        assert_eq!(standard_decoded("+/8="), Some(vec![0xfb, 0xff]));
    }
}
