//! How did an answer end, and how large was it? Measured on a second reading of the body, off the caller's path.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt as _;
use quota::answer::{Format, Meter};

use crate::{
    draft::Ending,
    instances::Seat,
    platform::{Abort, Platform},
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Measures `tap` beside the answer, records its outcome, and cuts the exchange off when the upstream stays silent
    /// for longer than `silence`. The place at the instance is free after that.
    #[inline(never)]
    pub(crate) fn measure(
        &self,
        ending: Ending,
        (status, format, tap): (StatusCode, Format, P::Body),
        (abort, seat): (Abort, Option<Seat>),
        silence: Duration,
    ) {
        let gateway = self.clone();
        self.platform.defer(async move {
            let mut meter = Meter::new(format);
            let (bytes_out, end) = gateway.drain(tap, &mut meter, abort, silence).await;
            drop(seat);
            gateway.ended(ending, (status, &end), bytes_out, &meter.finish());
        });
    }

    async fn drain(&self, mut tap: P::Body, meter: &mut Meter, abort: Abort, silence: Duration) -> (u64, String) {
        let mut bytes_out = 0;
        loop {
            match self.next(&mut tap, silence).await {
                Next::Data(data) => {
                    bytes_out += data.len() as u64;
                    meter.push(&data);
                }
                Next::End => return (bytes_out, "complete".to_owned()),
                Next::Broken(detail) => return (bytes_out, format!("the upstream broke off: {detail}")),
                Next::Silence => {
                    abort.abort();
                    return (bytes_out, format!("cut off: silent for {} ms", silence.as_millis()));
                }
            }
        }
    }

    /// The next piece of `body`, waited for at most `silence`.
    pub(crate) async fn next(&self, body: &mut P::Body, silence: Duration) -> Next {
        if body.is_end_stream() {
            return Next::End;
        }
        match select(pin!(body.frame()), pin!(self.platform.pause(silence))).await {
            Either::Left((Some(Ok(frame)), _)) => Next::Data(frame.into_data().unwrap_or_default()),
            Either::Left((Some(Err(error)), _)) => Next::Broken(error.to_string()),
            Either::Left((None, _)) => Next::End,
            Either::Right(_) => Next::Silence,
        }
    }
}

/// What comes next of a body.
pub(crate) enum Next {
    Data(Bytes),
    End,
    Broken(String),
    Silence,
}
