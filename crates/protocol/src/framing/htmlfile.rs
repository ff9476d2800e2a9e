use super::{
    ENVELOPE, Frame, Framing, LONGEST_KEPT, MOST_KEPT, PADDING, StreamFraming, refused, script,
};
use crate::query::Query;
use crate::{Error, Origin};

/// A document without end, for a frame of a page: each frame of ours is a script that hands its JSON text
/// to the page around it. The "forever iframe", and what Internet Explorer's `htmlfile` object loads.
///
/// The page names a function of its own window, for a frame of the same origin, or its origin, to which
/// the text is then posted (WHATWG HTML, section 9.3): `parent.callback('…')` or
/// `parent.postMessage('…','https://chat.example')`. It is handed text, not an object: objects of a frame
/// that is gone are of no use in Internet Explorer, and `JSON.parse` gives just what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Htmlfile {
    /// What stands before the text's literal in each script.
    call: String,
    /// What stands behind it.
    end: String,
    document_domain: Option<String>,
}

impl Htmlfile {
    /// Reads the parameters `callback`, an undotted identifier of at most 128 bytes, or `origin`, an
    /// [`Origin`].
    ///
    /// Whose pages the text is posted to is for `admits`, which is asked of an origin: no answer's header would keep it
    /// from them. A function is called of a page of the server's own, or of the document domain.
    ///
    /// `document_domain` is what the deployment lets the document set its `document.domain` to, so that
    /// pages of sibling domains that do the same may be called.
    ///
    /// # Errors
    /// 400 unless there is just one of the two, and for one that is not what it should be; 403 for an origin that is
    /// not admitted; 503 for a document domain that is not a domain.
    pub fn from_query(
        query: &str,
        document_domain: Option<String>,
        admits: impl FnOnce(&Origin) -> bool,
    ) -> Result<Self, Error> {
        let query = Query::parse(query)?;
        let origin = query.one("origin")?.map(str::parse::<Origin>).transpose()?;
        let (call, end) = match (script::callback(&query, false)?, origin) {
            (Some(callback), None) => (format!("parent.{callback}("), String::new()),
            (None, Some(origin)) if !admits(&origin) => {
                return Err(Error::Forbidden(format!(
                    "origin: pages of {origin} are not let in"
                )));
            }
            (None, Some(origin)) => ("parent.postMessage(".to_owned(), format!(",'{origin}'")),
            _ => {
                return Err(Error::Invalid(
                    "callback, origin: just one of them is needed".to_owned(),
                ));
            }
        };
        if let Some(domain) = &document_domain
            && !domain
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        {
            return Err(Error::Unavailable(
                "this server is set up wrong: document_domain is not a domain".to_owned(),
            ));
        }
        Ok(Self {
            call,
            end,
            document_domain,
        })
    }
}

impl Framing for Htmlfile {
    // Without the charset, a byte order mark or a `meta` of a hostile body might choose one.
    const CONTENT_TYPE: &'static str = "text/html; charset=utf-8";
    const INLINE_ERRORS: bool = true;

    fn refusal(&self, error: &Error) -> Vec<u8> {
        refused(self, error)
    }
}

impl StreamFraming for Htmlfile {
    const MOST_BYTES: usize = MOST_KEPT;
    const LONGEST: u32 = LONGEST_KEPT;

    /// A window that is its own parent is no frame: its own functions, `alert` or `eval`, would be called.
    /// There everything that follows is made plain text (WHATWG HTML, section 13.2.6.4.7), and nothing runs.
    fn prelude(&self) -> Vec<u8> {
        let domain = match &self.document_domain {
            Some(domain) => format!("document.domain='{domain}';"),
            None => String::new(),
        };
        format!(
            "<!doctype html>\n<html><head><title>Witter</title>\n\
             <script>if(parent===self)document.write('<plaintext>');{domain}</script>\n\
             </head><body>{:PADDING$}\n",
            ""
        )
        .into_bytes()
    }

    fn head(envelope: &str, out: &mut Vec<u8>) {
        script::literal(ENVELOPE, out);
        script::literal(envelope, out);
    }

    fn tail(cursor: &str, out: &mut Vec<u8>) {
        script::literal(&Frame::behind(cursor), out);
    }

    fn body(&self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        script::literal(&frame.to_json(), out);
    }

    fn open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<script>");
        out.extend_from_slice(self.call.as_bytes());
        out.push(b'\'');
    }

    fn close(&self, out: &mut Vec<u8>) {
        out.push(b'\'');
        out.extend_from_slice(self.end.as_bytes());
        out.extend_from_slice(b")</script>\n");
    }
}
