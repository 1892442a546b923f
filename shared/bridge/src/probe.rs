//! Which eras does a server speak? What its answer to `server/discover` proves.
