//! What is a body in memory? Any body hyper brings or takes, read once, or split in two.

use std::{
    fmt::Display,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use gateway::platform::Unread;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_util::sync::CancellationToken;

/// The body of a request or a response.
pub struct Body(Pin<Box<dyn http_body::Body<Data = Bytes, Error = String>>>);

impl Body {
    /// A body that is read from `body`.
    pub fn new(body: impl http_body::Body<Data = Bytes, Error: Display> + 'static) -> Self {
        Self(Box::pin(body.map_err(|error| error.to_string())))
    }

    /// A body of the pieces `stream` brings.
    pub(super) fn pieces(stream: impl Stream<Item = Bytes> + 'static) -> Self {
        Self(Box::pin(StreamBody::new(stream.map(|piece| Ok(Frame::data(piece))))))
    }

    /// This body, broken off when `cut` is cancelled.
    pub(super) fn until(self, cut: CancellationToken) -> Self {
        let frames = stream::unfold(Some((self, cut)), |open| async {
            let (mut body, cut) = open?;
            match cut.run_until_cancelled(body.frame()).await {
                None => Some((Err("the exchange was cut off".to_owned()), None)),
                Some(frame) => Some((frame?, Some((body, cut)))),
            }
        });
        Self(Box::pin(StreamBody::new(frames)))
    }

    /// All of it, if it is no larger than `max_bytes`.
    ///
    /// # Errors
    /// [`Unread`]
    pub async fn whole(mut self, max_bytes: usize) -> Result<Bytes, Unread> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let data = frame.map_err(Unread::Broken)?.into_data().unwrap_or_default();
            if bytes.len() + data.len() > max_bytes {
                return Err(Unread::TooLarge(max_bytes));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }

    /// The same bytes twice. As on workerd, each side is read at its own pace, and one goes on when the other is
    /// dropped.
    pub fn split(mut self) -> (Self, Self) {
        let (one, first) = mpsc::unbounded_channel();
        let (other, second) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Some(frame) = self.frame().await {
                let data = frame.map(|frame| frame.into_data().unwrap_or_default());
                let heard = [one.send(data.clone()), other.send(data)];
                if heard.iter().all(Result::is_err) {
                    return;
                }
            }
        });
        (Self::received(first), Self::received(second))
    }

    fn received(receiver: UnboundedReceiver<Result<Bytes, String>>) -> Self {
        let frames = stream::unfold(receiver, |mut receiver| async move {
            let data = receiver.recv().await?;
            Some((data.map(Frame::data), receiver))
        });
        Self(Box::pin(StreamBody::new(frames)))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
