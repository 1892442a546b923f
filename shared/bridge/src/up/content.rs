//! How is content of a newer kind told to an older caller? As text, rather than not at all.

use mcp::Revision;

use crate::text::{Members, Unreadable, quoted};

use super::result::Item;

/// A block of a tool's result, put as text if `revision` does not know its kind.
pub(super) fn block(text: &str, revision: Revision) -> Result<Item, Unreadable> {
    let block = Members::parse(text)?;
    let kind = block.string("type").unwrap_or_default();
    match kind.as_ref() {
        "resource_link" if revision < Revision::V2025_06_18 => {
            let uri = block.string("uri").unwrap_or_default();
            let name = block.string("name").unwrap_or_default();
            Ok(Item::New(self::text(&quoted(&["resource ", &name, ": ", &uri].concat()))))
        }
        "audio" if revision < Revision::V2025_03_26 => {
            let kind = block.string("mimeType").unwrap_or_default();
            Ok(Item::New(self::text(&quoted(&["audio (", &kind, ") that this revision cannot carry"].concat()))))
        }
        _ => Ok(Item::Same),
    }
}

/// A message of a prompt, whose content is one block.
pub(super) fn message(text: &str, revision: Revision) -> Result<Item, Unreadable> {
    let mut message = Members::parse(text)?;
    let Some(content) = message.raw("content") else { return Ok(Item::Same) };
    if let Item::New(block) = block(content, revision)? {
        message.set("content", block);
        return Ok(Item::New(message.write()));
    }
    Ok(Item::Same)
}

/// A block of text that says the JSON text `json`: the string itself, or what is no string as it is spelled.
pub(super) fn text(json: &str) -> String {
    let text = if json.starts_with('"') { json.to_owned() } else { quoted(json) };
    ["{\"type\":\"text\",\"text\":", &text, "}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(item: Result<Item, Unreadable>) -> Option<String> {
        match item.unwrap() {
            Item::New(text) => Some(text),
            Item::Same | Item::Gone => None,
        }
    }

    #[test]
    fn a_link_becomes_text_where_links_are_not_known() {
        let link = r#"{"type":"resource_link","uri":"a:b","name":"n"}"#;
        assert_eq!(new(block(link, Revision::V2025_03_26)).unwrap(), r#"{"type":"text","text":"resource n: a:b"}"#);
        assert_eq!(new(block(link, Revision::V2025_06_18)), None);
        let message = new(message(&format!(r#"{{"role":"user","content":{link}}}"#), Revision::V2024_11_05));
        assert_eq!(message.unwrap(), r#"{"role":"user","content":{"type":"text","text":"resource n: a:b"}}"#);
    }

    #[test]
    fn audio_becomes_text_in_the_first_revision() {
        let audio = r#"{"type":"audio","data":"AA==","mimeType":"audio/wav"}"#;
        assert!(new(block(audio, Revision::V2024_11_05)).unwrap().contains("audio/wav"));
        assert_eq!(new(block(audio, Revision::V2025_03_26)), None);
    }
}
