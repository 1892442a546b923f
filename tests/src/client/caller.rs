//! What can a caller do in either era? What a scenario says once, of both.

use serde_json::{Value, json};

use super::{Answer, Client, Modern, Stream, answer_to, answers, retried};

/// Whether a caller has a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// It has: MCP 2025-11-25 and older.
    Legacy,
    /// It has none: MCP 2026-07-28.
    Modern,
}

/// A client of one MCP endpoint, of either era.
pub enum Caller {
    /// With an open session.
    Legacy(Client),
    /// Without one.
    Modern(Modern),
}

impl Era {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Legacy, Self::Modern];

    /// `client` as a caller of this era; fails if no session can be opened.
    pub async fn caller(self, client: Client) -> Caller {
        match self {
            Self::Legacy => Caller::Legacy(client.open().await),
            Self::Modern => Caller::Modern(client.modern()),
        }
    }
}

impl Caller {
    /// Sends a request and reads the answer.
    pub async fn request(&self, method: &str, params: Value) -> Answer {
        match self {
            Self::Legacy(client) => client.request(method, params).await,
            Self::Modern(client) => client.request(method, params).await,
        }
    }

    /// Sends a request and reads the answer's head.
    pub async fn stream(&self, method: &str, params: Value) -> Stream {
        match self {
            Self::Legacy(client) => client.stream(method, params).await,
            Self::Modern(client) => client.stream(method, params).await,
        }
    }

    /// The result of a request; fails if there is none.
    pub async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.request(method, params).await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        let result = answer.reply()["result"].clone();
        assert!(result.is_object(), "{method}: {answer:?}");
        result
    }

    /// Calls `tool`.
    pub async fn try_call(&self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Calls `tool` and gives the text of its result; fails if there is none.
    pub async fn call(&self, tool: &str, arguments: Value) -> String {
        let answer = self.try_call(tool, arguments).await;
        assert_eq!(answer.status, 200, "{tool}: {answer:?}");
        answer.text()
    }

    /// What the member `key` says of each item of a list, on all its pages.
    pub async fn listed(&self, method: &str, key: &str) -> Vec<String> {
        let member = match method {
            "resources/templates/list" => "resourceTemplates",
            method => method.split('/').next().unwrap(),
        };
        let (mut listed, mut params) = (Vec::new(), json!({}));
        for _ in 0..PAGES_MAX {
            let page = self.result(method, params).await;
            let items = page[member].as_array().unwrap_or_else(|| panic!("{method}: {page}"));
            listed.extend(items.iter().map(|item| item[key].as_str().unwrap().to_owned()));
            if page["nextCursor"].is_null() {
                return listed;
            }
            params = json!({ "cursor": page["nextCursor"] });
        }
        panic!("`{method}` never ends");
    }

    /// The names of its tools.
    pub async fn tools(&self) -> Vec<String> {
        self.listed("tools/list", "name").await
    }

    /// Sends a request, and answers whatever is asked before it is: see [`answers`]. Gives the response at last, and the
    /// methods of what was asked, in order.
    pub async fn answering(&self, method: &str, params: &Value, content: &Value, word: &str) -> (Value, Vec<String>) {
        match self {
            Self::Legacy(client) => answer_requests(client, method, params, (content, word)).await,
            Self::Modern(client) => answer_rounds(client, method, params, (content, word)).await,
        }
    }
}

/// Each request on the stream is answered by a POST.
async fn answer_requests(
    client: &Client,
    method: &str,
    params: &Value,
    (content, word): (&Value, &str),
) -> (Value, Vec<String>) {
    let mut stream = client.stream(method, params.clone()).await;
    assert_eq!(stream.status, 200, "{method}");
    if stream.headers["content-type"] != "text/event-stream" {
        return (stream.read().await.reply(), Vec::new());
    }
    let mut asked = Vec::new();
    while let Some(message) = stream.message().await {
        match (&message["method"], &message["id"]) {
            (Value::String(method), id) if !id.is_null() => {
                let result = answer_to(&message["method"], content, word);
                let reply = json!({ "jsonrpc": "2.0", "id": id, "result": result });
                let answer = client.post(reply.to_string()).send().await;
                assert_eq!(answer.status, 202, "{answer:?}");
                asked.push(method.clone());
            }
            (Value::String(_), _) => {}
            _ => return (message, asked),
        }
    }
    panic!("the stream ended before the response to `{method}`; asked were {asked:?}");
}

/// What is asked comes as a result, and is answered by the next request.
async fn answer_rounds(
    client: &Modern,
    method: &str,
    params: &Value,
    (content, word): (&Value, &str),
) -> (Value, Vec<String>) {
    let (mut asked, mut again) = (Vec::new(), params.clone());
    for _ in 0..ROUNDS_MAX {
        let answer = client.request(method, again).await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        let reply = answer.reply();
        if reply["result"]["resultType"] != "input_required" {
            return (reply, asked);
        }
        let requests = reply["result"]["inputRequests"].as_object().unwrap_or_else(|| panic!("{reply}"));
        asked.extend(requests.values().map(|request| request["method"].as_str().unwrap().to_owned()));
        again = retried(params, &reply["result"], answers(&reply["result"], content, word));
    }
    panic!("`{method}` asks without end: {asked:?}");
}

const PAGES_MAX: usize = 20;
const ROUNDS_MAX: usize = 10;
