//! What every picture of the documents begins and ends with.
//!
//! What lives here: the frame of an SVG document, and text made fit for it.
//! What must never live here: what a picture shows.
//! Who calls it: `bench` and `flame`.

/// A whole document of this width and height, on white, with sans-serif text of 11 units unless a part says otherwise.
pub(crate) fn document((width, height): (f64, f64), title: &str, parts: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\" role=\"img\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{parts}</svg>\n",
        title = escaped(title),
    )
}

/// Text between tags.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_its_size_and_its_title_escaped() {
        let text = document((30.0, 20.0), "a<b & c", "<path/>\n");
        assert!(text.contains(r#"viewBox="0 0 30 20" width="30" height="20""#));
        assert!(text.contains("<title>a&lt;b &amp; c</title>"));
        assert!(text.ends_with("<path/>\n</svg>\n"));
    }
}
