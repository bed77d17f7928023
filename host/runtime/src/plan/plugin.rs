//! Plugins: the component behind a reference, and whether its contract fits the step.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use weir_connectors::http::{AllowedHost, CacheSettings, HttpClient, HttpSettings};
use weir_connectors::tls;
use weir_manifest::{Fault, Manifest, Spanned};
use weir_operators::{KeyEncoder, ProcessLimits, WaitingLimits};
use weir_sandbox::Grants;
use weir_stream::{ChangeMode, Fetch};

use super::process::PlannedProcess;
use super::window::key_name;
use super::{Output, PlannedKeyed, PlannedKind, PlannedPlugin, Planner, Side, component, expression_fault};
use crate::function::Contract;
use crate::gate::{GateError, GateSite, PairColumns, PluginRole};
use crate::reject_watch::RejectLimit;
use crate::task::plugin::{PluginSite, Sample, with_digest_column};

/// What a plugin is there for.
#[derive(Debug, Clone)]
pub(super) enum PluginUse {
    Step,
    /// To say which windows a row is in.
    Windows,
    /// To decide which pairs of a join go on.
    Pairs(PairColumns),
}

impl Planner<'_> {
    pub(super) fn plugin(
        &mut self,
        step: &Arc<str>,
        plugin: &weir_manifest::PluginStep,
        there_for: PluginUse,
        input: &Side,
        manifest: &Manifest,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let asked = plugin.limits.or(&manifest.limits.plugin);
        let role = match &plugin.key {
            Some(key) => {
                let key = self.plugin_key(key, plugin, input)?;
                PluginRole::Keyed { key: Arc::new(Schema::new(key.fields().to_vec())) }
            }
            None => match there_for {
                PluginUse::Step => PluginRole::Rows,
                PluginUse::Windows => PluginRole::Windows { most: asked.output_rows_per_row() as usize },
                PluginUse::Pairs(columns) => PluginRole::Pairs(columns),
            },
        };
        let (planned, contract) = self.gated(step, plugin, role, &input.schema, manifest)?;
        let site = &planned.gate.site;
        let named = contract.outputs().into_iter().zip(&site.outputs).map(|(output, schema)| {
            let stamped = site.digest_column.as_ref().map(|column| with_digest_column(schema, column));
            let schema = stamped.unwrap_or_else(|| Arc::clone(schema));
            Output { name: output.name.clone(), schema, changes: ChangeMode::Append }
        });
        let outputs = named.collect();
        let Contract::Keyed(contract) = contract else {
            return Some((outputs, PlannedKind::Plugin(Box::new(planned))));
        };
        let keys = plugin.key.iter().flatten().map(|key| (key_name(key), key.value.clone())).collect();
        let limits = ProcessLimits {
            state_bytes_per_key: asked.state_per_key().bytes() as usize,
            timers_per_key: asked.timers_per_key() as usize,
        };
        let planned = PlannedProcess { plugin: planned, keys, contract: Arc::new(contract), limits };
        match planned.operator(1, 0..1) {
            Ok(_) => Some((outputs, PlannedKind::Keyed(Box::new(planned)))),
            Err(message) => {
                self.fault(Fault::new(plugin.reference.span, "plugin-contract", message));
                None
            }
        }
    }

    /// The component behind a reference, and what it promised for the place that it is to have.
    pub(super) fn gated(
        &mut self,
        step: &Arc<str>,
        plugin: &weir_manifest::PluginStep,
        role: PluginRole,
        input: &SchemaRef,
        manifest: &Manifest,
    ) -> Option<(PlannedPlugin, Contract)> {
        let limits = component::limits(&plugin.limits.or(&manifest.limits.plugin));
        let loaded = component::component_path(&manifest.resolve(&plugin.reference))
            .map_err(|message| Fault::new(plugin.reference.span, "plugin-missing", message))
            .and_then(|path| {
                crate::gate::load(self.engine, &path, &limits)
                    .map_err(|error| Fault::new(plugin.reference.span, "plugin", error.to_string()))
            });
        let tables = self.plugin_tables(step, plugin, manifest);
        let component = loaded.map_err(|fault| self.fault(fault)).ok()?;
        let (granted, tables) = tables?;
        let config = plugin.config.as_ref().map_or_else(|| "null".to_owned(), |config| config.value.to_string());
        let site = PluginSite {
            step: Arc::clone(step),
            input: Arc::clone(input),
            sample: Arc::new(Sample::default()),
            outputs: Vec::new(),
            output_names: Vec::new(),
            reject_limit: RejectLimit::of(&manifest.swap),
            waiting: waiting(plugin.http.as_ref(), tables.wait),
            digest_column: plugin.digest_column.as_ref().map(|column| column.value.clone()),
            left: if let PluginRole::Pairs(columns) = &role { Some(Arc::clone(&columns.left)) } else { None },
        };
        let grants = Grants { http: self.http(plugin, manifest)?, tables: granted };
        let mut gate = GateSite { site, config, limits, consumers: Vec::new(), grants, tables, role, planned: None };
        let function = gate.function(&component).map_err(|error| self.contract_faults(plugin, &error)).ok()?;
        let contract = function.contract();
        gate.site.outputs = gate.output_schemas(&contract);
        gate.site.output_names = contract.outputs().iter().map(|output| output.name.clone()).collect();
        gate.planned = Some(contract.clone());
        Some((PlannedPlugin { gate: Arc::new(gate), component }, contract))
    }

    /// The key of a keyed plugin, whose input must be one that it can keep state of.
    fn plugin_key(
        &mut self,
        key: &[Spanned<String>],
        plugin: &weir_manifest::PluginStep,
        input: &Side,
    ) -> Option<KeyEncoder> {
        if let Some(column) = &plugin.digest_column {
            let message =
                "a keyed plugin's rows may come of state that several versions made, so no one digest made them";
            self.fault(Fault::new(column.span, "digest-column", message).next("take `digest_column` away"));
            return None;
        }
        let keys = self.keys(key, input)?;
        let encoder = KeyEncoder::new(&keys, &input.schema, 1);
        encoder.map_err(|(place, error)| self.fault(expression_fault(&key[place], error, &input.from))).ok()
    }

    /// What the manifest lets the plugin ask, if anything.
    fn http(&mut self, plugin: &weir_manifest::PluginStep, manifest: &Manifest) -> Option<Option<Arc<dyn Fetch>>> {
        let Some(http) = &plugin.http else { return Some(None) };
        let mut allow = Vec::new();
        for host in &http.allow {
            match host.value.parse::<AllowedHost>() {
                Ok(host) => allow.push(host),
                Err(error) => self.fault(Fault::new(host.span, "http-host", error.to_string())),
            }
        }
        if plugin.key.is_some() {
            let message = "a plugin with state by key asks no services";
            self.fault(Fault::new(plugin.reference.span, "http", message).next("take `http` away, or `key`"));
            return None;
        }
        if http.timeout.as_us() == 0 || http.total.as_us() == 0 {
            let message = "no service answers in no time: `timeout` and `total` of `http` must be above 0";
            self.fault(Fault::new(plugin.reference.span, "http", message));
            return None;
        }
        let authorities = http.ca.as_ref().map(|path| manifest.resolve(path));
        let trust = match (tls::trust(authorities.as_deref()), &http.ca) {
            (Ok(trust), _) => trust,
            (Err(error), ca) => {
                let place = ca.as_ref().map_or(plugin.reference.span, |ca| ca.span);
                let fault = Fault::new(place, "http-ca", error.to_string());
                self.fault(fault.next("name a PEM file with the authority's certificate"));
                return None;
            }
        };
        let settings = HttpSettings {
            allow,
            private: http.private,
            concurrency: usize::from(http.concurrency),
            timeout: http.timeout.as_std(),
            total: http.total.as_std(),
            retries: u32::from(http.retries),
            response_bytes: http.response.bytes() as usize,
            trust,
            cache: http.cache.map(|cache| CacheSettings { rows: cache.rows as usize, ttl: cache.ttl.as_std() }),
        };
        (settings.allow.len() == http.allow.len()).then(|| Some(Arc::new(HttpClient::new(settings)) as Arc<dyn Fetch>))
    }

    fn contract_faults(&mut self, plugin: &weir_manifest::PluginStep, error: &GateError) {
        for fault in error.faults() {
            let place = match (&plugin.config, fault.starts_with("config ")) {
                (Some(config), true) => config.span,
                _ => plugin.reference.span,
            };
            self.fault(Fault::new(place, "plugin-contract", fault.clone()));
        }
    }
}

/// A batch of which rows are looked for asks several times over: as long as that may take, and then some.
fn waiting(http: Option<&weir_manifest::PluginHttp>, databases: bool) -> WaitingLimits {
    const CALLS: u64 = 32;
    let defaults = WaitingLimits::default();
    if databases {
        // One that is away is waited for; what waits knows when to give up.
        return WaitingLimits { answer_ms: u64::MAX, ..defaults };
    }
    let Some(http) = http else { return defaults };
    let call_ms = u64::try_from(http.total.as_std().as_millis()).unwrap_or(u64::MAX);
    WaitingLimits { answer_ms: defaults.answer_ms.saturating_add(call_ms.saturating_mul(CALLS)), ..defaults }
}
