//! What does a value of an answer count as? Told by where it stands.

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// Where messages stand: at the top, or in a batch.
    Top,
    /// A message's own fields.
    Message,
    /// The fields of `result`.
    Result,
    /// What is shown to the model: strings count as text.
    Content,
    /// `data` or `blob` of what is shown: base64.
    Data,
    /// `type` or `mimeType` of what is shown: says what its data are.
    Media,
    /// `structuredContent`, and everything in it: counts as JSON.
    Structured(Depth),
    /// Whatever else there is: counts as JSON.
    Rest,
    /// `_meta` of the result.
    Meta,
    /// A report of tokens, in `_meta` or in `structuredContent`.
    Usage(Within),
    /// A number of such a report.
    Count(Within, Counted),
    /// Counts for nothing.
    Nothing,
}

/// Whether a value is `structuredContent` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Top,
    Inside,
}

/// Where a report stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    Meta,
    Structured,
}

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Input,
    Output,
    Total,
}

/// What the bytes of a region are counted as, as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    Structured,
    Rest,
}

impl Region {
    /// The region of the value of `key`.
    pub(crate) fn of(self, key: &[u8]) -> Self {
        match self {
            Self::Message => match key {
                b"result" => Self::Result,
                b"error" | b"params" => Self::Rest,
                _ => Self::Nothing,
            },
            Self::Result => match key {
                b"content" | b"contents" | b"messages" => Self::Content,
                b"structuredContent" => Self::Structured(Depth::Top),
                b"_meta" => Self::Meta,
                b"isError" | b"nextCursor" | b"resultType" => Self::Nothing,
                _ => Self::Rest,
            },
            Self::Content => match key {
                b"data" | b"blob" => Self::Data,
                b"type" | b"mimeType" => Self::Media,
                b"_meta" | b"annotations" | b"role" => Self::Nothing,
                _ => Self::Content,
            },
            Self::Structured(Depth::Top) if is_usage(key) => Self::Usage(Within::Structured),
            Self::Meta if is_usage(key) => Self::Usage(Within::Meta),
            Self::Usage(within) => counted(key).map_or(within.region(), |counted| Self::Count(within, counted)),
            Self::Top => Self::Nothing,
            _ => self.inside(),
        }
    }

    /// The region of an element, and of what stands in a value.
    pub(crate) const fn inside(self) -> Self {
        match self {
            Self::Top => Self::Message,
            Self::Structured(_) => Self::Structured(Depth::Inside),
            Self::Count(within, _) | Self::Usage(within) => within.region(),
            Self::Meta => Self::Nothing,
            // These are objects. Where something else stands for one, nobody knows what it is.
            Self::Message | Self::Result => Self::Rest,
            // Data and media types are strings; in an object of that name there may be anything.
            Self::Data | Self::Media => Self::Content,
            Self::Content | Self::Rest | Self::Nothing => self,
        }
    }

    /// The region of a value that is no object.
    pub(crate) const fn without_fields(self) -> Self {
        match self {
            Self::Message | Self::Result => Self::Rest,
            _ => self,
        }
    }

    /// Whether, and as what, the bytes count as they are.
    pub(crate) const fn raw(self) -> Option<Raw> {
        match self {
            Self::Structured(_) | Self::Usage(Within::Structured) | Self::Count(Within::Structured, _) => {
                Some(Raw::Structured)
            }
            Self::Rest => Some(Raw::Rest),
            _ => None,
        }
    }
}

impl Within {
    const fn region(self) -> Region {
        match self {
            Self::Meta => Region::Nothing,
            Self::Structured => Region::Structured(Depth::Inside),
        }
    }
}

/// `usage`, or that name with a prefix (MCP 2025-06-18 basic, `_meta`).
fn is_usage(key: &[u8]) -> bool {
    key == b"usage" || key.ends_with(b"/usage")
}

fn counted(key: &[u8]) -> Option<Counted> {
    match key {
        b"total_tokens" | b"totalTokens" => Some(Counted::Total),
        b"input_tokens" | b"inputTokens" | b"prompt_tokens" | b"promptTokens" => Some(Counted::Input),
        b"output_tokens" | b"outputTokens" | b"completion_tokens" | b"completionTokens" => Some(Counted::Output),
        _ => None,
    }
}
