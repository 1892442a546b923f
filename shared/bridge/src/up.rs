//! How does a legacy caller use a modern server?
