//! What does any Spin component add that only passes a request on? Neither body enters it: the host joins the streams.

use spin_sdk::{
    variables,
    wasip3::{
        self,
        exports::http::handler::Guest,
        http::{
            client,
            types::{ErrorCode, Fields, Request, Response, Scheme},
        },
        wit_future,
    },
};

struct Bare;

wasip3::http::service::export!(Bare with_types_in wasip3);

impl Guest for Bare {
    /// Sends `request` to the variable `upstream`, and answers what that answers.
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let upstream = variables::get("upstream").await.map_err(|error| broken(&error))?;
        let (method, path) = (request.get_method(), request.get_path_with_query());
        // The authority is said in the URL.
        let headers = request.get_headers().copy_all().into_iter().filter(|(name, _)| name != "host");
        let headers = Fields::from_list(&headers.collect::<Vec<_>>()).map_err(|error| broken(&error))?;
        let (_, read) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, read);
        let (onward, _) = Request::new(headers, Some(body), trailers, None);
        let is_set = onward.set_method(&method).is_ok()
            && onward.set_scheme(Some(&Scheme::Http)).is_ok()
            && onward.set_authority(Some(&upstream)).is_ok()
            && onward.set_path_with_query(path.as_deref()).is_ok();
        if !is_set {
            return Err(ErrorCode::HttpRequestUriInvalid);
        }
        client::send(onward).await
    }
}

fn broken(error: &dyn std::fmt::Display) -> ErrorCode {
    ErrorCode::InternalError(Some(error.to_string()))
}
