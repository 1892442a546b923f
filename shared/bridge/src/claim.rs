//! Which era does a request claim, and does it hold together?
