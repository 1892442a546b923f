//! How do many servers look like one?
