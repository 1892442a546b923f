//! Is this `requestState` ours, and the caller's?
