//! Talks to the admin API of a running pipeline.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use weir_runtime::admin::{KeyRequest, Problem, SavepointRequest};
use weir_runtime::savepoint::Description;
use weir_runtime::{KeyReport, Status, SwapReport};

use crate::output::{FAILED, Failure, UNAVAILABLE};

/// A swap waits for a barrier; everything else answers at once.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the running pipeline's admin API is.
#[derive(Args, Clone)]
pub struct Server {
    /// Address of the running pipeline's admin API.
    #[arg(long, default_value = "127.0.0.1:7420", env = "WEIR_ADMIN")]
    pub admin: String,
}

impl Server {
    pub fn status(&self) -> Result<Status, Failure> {
        self.answer(self.agent().get(self.url("/pipeline")).call())
    }

    pub fn swap(&self, step: &str, component: &[u8]) -> Result<SwapReport, Failure> {
        let request = self.agent().post(self.url(&format!("/pipeline/steps/{step}/plugin")));
        self.answer(request.header("content-type", "application/wasm").send(component))
    }

    /// What a step holds for one key.
    pub fn held_key(&self, step: &str, key: &[String]) -> Result<KeyReport, Failure> {
        let request = KeyRequest { key: key.to_vec() };
        self.answer(self.agent().post(self.url(&format!("/pipeline/steps/{step}/key"))).send_json(request))
    }

    pub fn savepoint(&self, folder: &Path) -> Result<Description, Failure> {
        let request = SavepointRequest { folder: folder.to_owned() };
        self.answer(self.agent().post(self.url("/pipeline/savepoint")).send_json(request))
    }

    pub fn stop(&self) -> Result<(), Failure> {
        let request = self.agent().post(self.url("/pipeline/stop")).header("content-type", "application/json");
        let response = request.send("{}").map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(());
        }
        let message = format!("{} answers {}", self.admin, response.status());
        Err(Failure::new(FAILED, message).next("say with --admin where a pipeline's admin API is"))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    fn agent(&self) -> ureq::Agent {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        config.into()
    }

    fn answer<T: DeserializeOwned>(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Failure> {
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        let unreadable = |error: ureq::Error| Failure::new(FAILED, format!("{}: {error}", self.admin));
        if response.status().is_success() {
            return response.body_mut().read_json().map_err(unreadable);
        }
        let problem: Problem = response.body_mut().read_json().map_err(unreadable)?;
        Err(Failure::new(FAILED, problem.message).details(problem.faults).next(problem.next))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(UNAVAILABLE, format!("no running pipeline at {}: {error}", self.admin))
            .next("start one with `weir run`, or say where it is with --admin")
    }
}
