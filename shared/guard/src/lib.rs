//! Is this a request we are willing to parse?
//!
//! [`admit`] looks at the head alone and gives [`Admitted`]; [`read`] looks at the body of an admitted POST. Nothing is
//! parsed before the head is found good and the caller is known.

mod body;
mod head;
mod refused;
mod site;

pub use body::{Session, fits, read};
pub use head::{Admitted, Verb, admit, admit_any_era};
pub use refused::Refused;
pub use site::Site;
