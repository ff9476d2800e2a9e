//! Commands, by the way on which a page of each transport sends them.

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{Client, Frame, Query, Socket, Transport};

impl Client {
    /// Does a command, as a page that reads by this transport does: on its WebSocket, by a script, or else by a
    /// `POST`. The answer, or the error `{"error","detail"}`.
    ///
    /// # Errors
    /// Where the host cannot be reached, or what it says is neither.
    pub async fn perform(
        &self,
        transport: Transport,
        token: Option<&str>,
        command: &Value,
    ) -> Result<Value> {
        match transport {
            Transport::Websocket => self.perform_on_a_socket(token, command).await,
            Transport::JsonpPolling => {
                let mut query = format!("callback=told&command={}", escape(&command.to_string()));
                if let Some(token) = token {
                    query += &format!("&token={}", escape(token));
                }
                let answer = self.get(&format!("/witter/jsonp-command?{query}")).await?;
                ensure!(answer.status == 200, "{answer:?}");
                let text = parsers::jsonp(&answer.body, "told")?;
                serde_json::from_str(&text).context(text)
            }
            _ => {
                let body = command.to_string();
                let answer = self.post("/witter/command", token, body).await?;
                let told: Value = answer.json()?;
                ensure!(
                    (answer.status == 200) == told.get("error").is_none(),
                    "{answer:?}"
                );
                Ok(told)
            }
        }
    }

    async fn perform_on_a_socket(&self, token: Option<&str>, command: &Value) -> Result<Value> {
        // A connection follows something; what it is, is no matter here.
        let mut query = Query::of(["of-no-matter"]);
        if let Some(token) = token {
            query = query.token(token);
        }
        let target = query.target(Transport::Websocket);
        let target = format!("{target}&errors=inline");
        let request = Transport::Websocket.request(self, &target);
        let response = self
            .open(request.method(Method::GET).body(Full::default())?)
            .await?;
        let mut socket = Socket::accepted(response).await?;
        let question = json!({"ref": 7, "command": command}).to_string();
        loop {
            let mut told: Value = serde_json::from_str(&socket.text().await?)?;
            if told["open"] == true {
                socket.send(Frame::text(question.clone())).await?;
            } else if let Some(code) = told.get("end") {
                // Whoever is not let in is told why in other words.
                return Ok(json!({"error": code, "detail": told["detail"]}));
            } else if told["ref"] == 7 {
                let members = told.as_object_mut().context("an answer is an object")?;
                members.remove("ref");
                return Ok(match members.remove("answer") {
                    Some(answer) => answer,
                    None => told,
                });
            }
        }
    }
}

/// A value in a query, with each byte escaped.
fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
