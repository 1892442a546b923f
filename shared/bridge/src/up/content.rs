//! How is content of a newer kind told to an older caller? As text, rather than not at all.

use mcp::Revision;

use crate::text::{Members, Unreadable, quoted};

/// A block of a tool's result, if `revision` does not know its kind; `None` where it stays as it is.
pub(super) fn block(text: &str, revision: Revision) -> Result<Option<String>, Unreadable> {
    let block = Members::parse(text)?;
    let kind = block.string("type").unwrap_or_default();
    match kind.as_ref() {
        "resource_link" if revision < Revision::V2025_06_18 => {
            let uri = block.string("uri").unwrap_or_default();
            let name = block.string("name").unwrap_or_default();
            Ok(Some(self::text(&quoted(&["resource ", &name, ": ", &uri].concat()))))
        }
        "audio" if revision < Revision::V2025_03_26 => {
            let kind = block.string("mimeType").unwrap_or_default();
            Ok(Some(self::text(&quoted(&["audio (", &kind, ") that this revision cannot carry"].concat()))))
        }
        _ => Ok(None),
    }
}

/// A message of a prompt, whose content is one block.
pub(super) fn message(text: &str, revision: Revision) -> Result<Option<String>, Unreadable> {
    let mut message = Members::parse(text)?;
    let Some(content) = message.raw("content") else { return Ok(None) };
    let Some(block) = block(content, revision)? else { return Ok(None) };
    message.set("content", block);
    Ok(Some(message.write()))
}

/// A block of text that says the JSON text `json`: the string itself, or what is no string as it is spelled.
pub(super) fn text(json: &str) -> String {
    let text = if json.starts_with('"') { json.to_owned() } else { quoted(json) };
    ["{\"type\":\"text\",\"text\":", &text, "}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_becomes_text_where_links_are_not_known() {
        let link = r#"{"type":"resource_link","uri":"a:b","name":"n"}"#;
        assert_eq!(block(link, Revision::V2025_03_26).unwrap().unwrap(), r#"{"type":"text","text":"resource n: a:b"}"#);
        assert_eq!(block(link, Revision::V2025_06_18).unwrap(), None);
        let message = message(&format!(r#"{{"role":"user","content":{link}}}"#), Revision::V2024_11_05).unwrap();
        assert_eq!(message.unwrap(), r#"{"role":"user","content":{"type":"text","text":"resource n: a:b"}}"#);
    }

    #[test]
    fn audio_becomes_text_in_the_first_revision() {
        let audio = r#"{"type":"audio","data":"AA==","mimeType":"audio/wav"}"#;
        assert!(block(audio, Revision::V2024_11_05).unwrap().unwrap().contains("audio/wav"));
        assert_eq!(block(audio, Revision::V2025_03_26).unwrap(), None);
    }
}
