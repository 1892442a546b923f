//! How does one request of an instance wake another? Not by a waker: those of other tasks are not heard. Whoever waits reads
//! a stream of the component's own; the other end being dropped is an event of the runtime.

use std::pin::Pin;

use gateway::shelf;
use spin_sdk::{
    wasip3::wit_stream,
    wit_bindgen::{StreamReader, StreamWriter},
};

/// Rings when it is dropped.
pub(crate) struct Bell(#[expect(dead_code, reason = "it rings when it is dropped")] StreamWriter<u8>);

impl shelf::Bell for Bell {
    type Rung = Pin<Box<dyn Future<Output = ()>>>;

    fn hung() -> (Self, Self::Rung) {
        let (bell, mut rung): (_, StreamReader<u8>) = wit_stream::new();
        let rung = async move {
            rung.next().await;
        };
        (Self(bell), Box::pin(rung))
    }
}
