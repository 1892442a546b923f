//! A body as the runtime has it: relayed without a copy, read only where the gateway must.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway::platform::Unread;
use http_body::{Body as _, Frame, SizeHint};
use worker::{js_sys::Uint8Array, wasm_bindgen::JsValue, web_sys};

use crate::wire;

/// A body of a request or a response.
pub(crate) enum Body {
    /// Known bytes; none for no body.
    Bytes(Bytes),
    /// Known bytes that never entered WebAssembly.
    Arrived(Uint8Array),
    /// A request that was not read yet, and how long it says it is.
    Request(web_sys::Request, Option<u64>),
    /// A stream that was not read yet, and how long it says it is.
    Native(web_sys::ReadableStream, Option<u64>),
    /// A stream that is being read.
    Reading(worker::Body),
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl Body {
    /// All of it. One call of the runtime's where the length is said, else piece by piece, so that nothing larger than
    /// allowed is ever held.
    pub(crate) async fn whole(self, max_bytes: usize) -> Result<Bytes, Unread> {
        match self {
            Self::Bytes(bytes) if bytes.len() > max_bytes => Err(Unread::TooLarge(max_bytes)),
            Self::Bytes(bytes) => Ok(bytes),
            Self::Arrived(bytes) if bytes.length() as usize > max_bytes => Err(Unread::TooLarge(max_bytes)),
            Self::Arrived(bytes) => Ok(bytes.to_vec().into()),
            body => gateway::apart(body.unread(max_bytes)).await,
        }
    }

    async fn unread(self, max_bytes: usize) -> Result<Bytes, Unread> {
        match self {
            Self::Request(_, Some(length)) | Self::Native(_, Some(length)) if length > max_bytes as u64 => {
                Err(Unread::TooLarge(max_bytes))
            }
            Self::Request(request, Some(_)) => wire::all(&request).await.map_err(broken),
            Self::Native(stream, Some(_)) => wire::all(&stream).await.map_err(broken),
            body => body.pieces(max_bytes).await,
        }
    }

    /// The stream it is and its length, if it is one that was not read yet.
    pub(crate) fn into_native(self) -> Result<(web_sys::ReadableStream, Option<u64>), Self> {
        match self {
            Self::Native(stream, length) => Ok((stream, length)),
            Self::Request(request, length) => match request.body() {
                Some(stream) => Ok((stream, length)),
                None => Err(Self::Bytes(Bytes::new())),
            },
            other => Err(other),
        }
    }

    async fn pieces(mut self, max_bytes: usize) -> Result<Bytes, Unread> {
        let mut whole = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            let frame = frame.map_err(|error| Unread::Broken(error.to_string()))?;
            let data = frame.into_data().unwrap_or_default();
            if whole.len() + data.len() > max_bytes {
                return Err(Unread::TooLarge(max_bytes));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.into())
    }

    /// What is read from now on.
    fn reader(&mut self) -> Option<&mut worker::Body> {
        let stream = match self {
            Self::Native(stream, _) => Some(stream.clone()),
            Self::Request(request, _) => request.body(),
            Self::Bytes(_) | Self::Arrived(_) | Self::Reading(_) => None,
        };
        if let Some(stream) = stream {
            *self = Self::Reading(worker::Body::new(stream));
        }
        match self {
            Self::Reading(body) => Some(body),
            _ => None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = worker::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, worker::Error>>> {
        if let Self::Arrived(bytes) = &*self {
            *self = Self::Bytes(bytes.to_vec().into());
        }
        if let Self::Bytes(bytes) = &mut *self {
            let bytes = std::mem::take(bytes);
            return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
        }
        match self.reader() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Arrived(bytes) => bytes.length() == 0,
            Self::Request(..) | Self::Native(..) => false,
            Self::Reading(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Arrived(bytes) => SizeHint::with_exact(u64::from(bytes.length())),
            Self::Request(_, Some(length)) | Self::Native(_, Some(length)) => SizeHint::with_exact(*length),
            _ => SizeHint::default(),
        }
    }
}

fn broken(error: JsValue) -> Unread {
    Unread::Broken(worker::Error::from(error).to_string())
}
