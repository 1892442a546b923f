//! What is a body on Spin? Bytes that are here, or pieces that are still to come.

use std::{
    fmt::Display,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_channel::{mpsc, oneshot};
use futures_util::{
    Stream, StreamExt as _,
    future::{Either, select},
    stream,
};
use gateway::platform::Unread;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};

/// The body of a request or a response.
pub(crate) enum Body {
    /// All of it; none once it was read.
    Whole(Bytes),
    /// What comes, and whether that is all.
    Coming(Pin<Box<dyn http_body::Body<Data = Bytes, Error = String>>>),
}

impl Body {
    /// A body that the host brings.
    pub(crate) fn incoming(body: impl http_body::Body<Data = Bytes, Error: Display> + 'static) -> Self {
        Self::Coming(Box::pin(body.map_err(|error| error.to_string())))
    }

    /// A body of the pieces `stream` brings.
    pub(crate) fn pieces(stream: impl Stream<Item = Bytes> + 'static) -> Self {
        Self::results(stream.map(Ok))
    }

    fn results(stream: impl Stream<Item = Result<Bytes, String>> + 'static) -> Self {
        Self::Coming(Box::pin(StreamBody::new(stream.map(|piece| piece.map(Frame::data)))))
    }

    /// This body, broken off when `cut` is told so.
    pub(crate) fn until(self, cut: oneshot::Receiver<()>) -> Self {
        Self::results(stream::unfold(Some((self, cut)), |open| async {
            let (mut body, mut cut) = open?;
            let next = match select(pin!(body.piece()), &mut cut).await {
                Either::Left((piece, _)) => piece,
                // Nobody cuts it off any more.
                Either::Right((Err(oneshot::Canceled), piece)) => piece.await,
                Either::Right((Ok(()), _)) => return Some((Err("the exchange was cut off".to_owned()), None)),
            };
            let piece = next?;
            let rest = piece.is_ok().then_some((body, cut));
            Some((piece, rest))
        }))
    }

    /// All of it, if it is no larger than `max_bytes`.
    pub(crate) async fn whole(mut self, max_bytes: usize) -> Result<Bytes, Unread> {
        if let Self::Whole(bytes) = &self
            && bytes.len() <= max_bytes
        {
            return Ok(bytes.clone());
        }
        let mut all = BytesMut::new();
        while let Some(piece) = self.piece().await {
            let piece = piece.map_err(Unread::Broken)?;
            if all.len() + piece.len() > max_bytes {
                return Err(Unread::TooLarge(max_bytes));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// The same bytes twice. The first half sets the pace; when it is dropped, the second one breaks off.
    pub(crate) fn split(self) -> (Self, Self) {
        if let Self::Whole(bytes) = self {
            return (Self::Whole(bytes.clone()), Self::Whole(bytes));
        }
        let (told, hears) = mpsc::unbounded();
        let first = stream::unfold((self, told), |(mut body, told)| async {
            let piece = body.piece().await;
            let _ = told.unbounded_send(piece.clone());
            Some((piece?, (body, told)))
        });
        let second = stream::unfold(Some(hears), |hears| async {
            let mut hears = hears?;
            match hears.next().await {
                Some(piece) => Some((piece?, Some(hears))),
                None => Some((Err("the caller left".to_owned()), None)),
            }
        });
        (Self::results(first), Self::results(second))
    }

    /// The next bytes.
    async fn piece(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.frame().await?.map(Frame::into_data) {
                Ok(Ok(bytes)) => return Some(Ok(bytes)),
                // Trailers say nothing here.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Self::Coming(body) => body.as_mut().poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Coming(body) => body.size_hint(),
        }
    }
}
