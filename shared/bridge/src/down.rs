//! How does a modern caller use a legacy server?
