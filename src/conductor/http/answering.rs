//! The body of an answer that is under way: its connection is not closed for others meanwhile.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, Bytes},
    http::Response,
};
use hyper::body::{Frame, SizeHint};

use crate::conductor::room::Busy;

struct Answering {
    body: Body,
    _busy: Busy,
}

/// The same answer; the connection is busy until it is sent, or dropped.
pub fn until_sent(answer: Response<Body>, busy: Busy) -> Response<Body> {
    answer.map(|body| Body::new(Answering { body, _busy: busy }))
}

impl hyper::body::Body for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
