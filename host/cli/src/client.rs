//! Talks to the admin API of a running pipeline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use weir_connectors::tls;
use weir_runtime::admin::{KeyRequest, Problem, SavepointRequest};
use weir_runtime::savepoint::Description;
use weir_runtime::{KeyReport, Status, SwapReport};

use crate::output::{FAILED, Failure, UNAVAILABLE};

/// A swap waits for a barrier; everything else answers at once.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the running pipeline's admin API is, and what it asks for.
#[derive(Args, Clone)]
pub struct Server {
    /// Address of the running pipeline's admin API; https://HOST:PORT where it speaks TLS.
    #[arg(long, default_value = "127.0.0.1:7420", env = "WEIR_ADMIN")]
    pub admin: String,
    /// PEM file of the authorities whose certificates are trusted [default: those of the system].
    #[arg(long, value_name = "FILE", env = "WEIR_ADMIN_CA")]
    pub ca: Option<PathBuf>,
    /// What the admin API asks for; other users of this machine see arguments, so better in the environment.
    #[arg(long, env = "WEIR_ADMIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// A request under way, or why there is none.
type Sent = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

impl Server {
    pub fn status(&self) -> Result<Status, Failure> {
        let agent = self.agent()?;
        self.answer(self.with_token(agent.get(self.url("/pipeline"))).call())
    }

    pub fn swap(&self, step: &str, component: &[u8]) -> Result<SwapReport, Failure> {
        let request = self.post(&format!("/pipeline/steps/{step}/plugin"))?;
        self.answer(request.header("content-type", "application/wasm").send(component))
    }

    /// What a step holds for one key.
    pub fn held_key(&self, step: &str, key: &[String]) -> Result<KeyReport, Failure> {
        let request = KeyRequest { key: key.to_vec() };
        self.answer(self.post(&format!("/pipeline/steps/{step}/key"))?.send_json(request))
    }

    pub fn savepoint(&self, folder: &Path) -> Result<Description, Failure> {
        let request = SavepointRequest { folder: folder.to_owned() };
        self.answer(self.post("/pipeline/savepoint")?.send_json(request))
    }

    pub fn stop(&self) -> Result<(), Failure> {
        let request = self.post("/pipeline/stop")?.header("content-type", "application/json");
        self.accepted(request.send("{}")).map(drop)
    }

    fn url(&self, path: &str) -> String {
        let address = self.admin.trim_end_matches('/');
        match (address.contains("://"), &self.ca) {
            (true, _) => format!("{address}{path}"),
            (false, Some(_)) => format!("https://{address}{path}"),
            (false, None) => format!("http://{address}{path}"),
        }
    }

    fn post(&self, path: &str) -> Result<ureq::RequestBuilder<ureq::typestate::WithBody>, Failure> {
        Ok(self.with_token(self.agent()?.post(self.url(path))))
    }

    fn with_token<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn agent(&self) -> Result<ureq::Agent, Failure> {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        if !self.url("").starts_with("https://") {
            return Ok(config.build().into());
        }
        let trust = tls::trust(self.ca.as_deref()).map_err(|error| {
            Failure::new(FAILED, error.to_string()).next("give --ca a PEM file with the authority's certificate")
        })?;
        Ok(config.tls_config(trust).build().into())
    }

    fn answer<T: DeserializeOwned>(&self, sent: Sent) -> Result<T, Failure> {
        self.accepted(sent)?.body_mut().read_json().map_err(|error| self.unreadable(&error))
    }

    /// The response, if the request was granted.
    fn accepted(&self, sent: Sent) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        if response.status() == ureq::http::StatusCode::UNAUTHORIZED {
            let what = if self.token.is_some() { "does not take this token" } else { "asks for a token" };
            return Err(Failure::new(FAILED, format!("{} {what}", self.admin))
                .next("give the pipeline's token with --token or in WEIR_ADMIN_TOKEN"));
        }
        let problem: Problem = response.body_mut().read_json().map_err(|error| self.unreadable(&error))?;
        Err(Failure::new(FAILED, problem.message).details(problem.faults).next(problem.next))
    }

    fn unreadable(&self, error: &ureq::Error) -> Failure {
        Failure::new(FAILED, format!("{} does not answer as a pipeline: {error}", self.admin))
            .next("say with --admin where a pipeline's admin API is")
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        match tls::refusal(error) {
            Some(why) => Failure::new(UNAVAILABLE, format!("{}: {why}", self.admin))
                .next("say with --admin how it is reached, and with --ca whose certificates are trusted"),
            None => Failure::new(UNAVAILABLE, format!("no running pipeline at {}: {error}", self.admin))
                .next("start one with `weir run`, or say where it is with --admin"),
        }
    }
}
