//! The gate that every plugin passes before it may touch a row: component, world, contract, columns, self-test.
//!
//! One place for start and swap alike, away from the data path. What it lets through is ready to run: compiled,
//! instantiated, tried on a stored sample.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::{DataType, Schema, SchemaRef};
use serde::Serialize;
use weir_sandbox::{ContractFault, Limits, PluginComponent, SandboxEngine, SandboxError, WasmTransformFactory};
use weir_stream::{Transform, TransformContract, TransformFactory, Transformed};

use crate::barrier::SwapOrder;
use crate::task::plugin::{PluginSite, Sample};

/// How long a self-test may take at most, over all its calls.
const SELF_TEST_BUDGET: Duration = Duration::from_secs(5);

/// What the gate knows of one plugin step.
pub struct GateSite {
    pub site: PluginSite,
    /// JSON, as the manifest gives it.
    pub config: String,
    pub limits: Limits,
    /// Names of what stands behind, to say who needs a column.
    pub consumers: Vec<String>,
}

/// Why a plugin was not let through; the running version goes on untouched.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error(transparent)]
    Component(#[from] SandboxError),
    #[error("plugin does not fit step `{step}`")]
    Contract { step: String, faults: Vec<String> },
    #[error("self-test failed on step `{step}`: the plugin {fault}")]
    SelfTest { step: String, fault: weir_stream::FunctionFault },
    #[error("no step `{step}` with a plugin; the pipeline has {}", list(.has))]
    NoStep { step: String, has: Vec<String> },
}

impl GateError {
    /// Everything that does not fit, a line each.
    pub fn faults(&self) -> &[String] {
        match self {
            Self::Contract { faults, .. } => faults,
            _ => &[],
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What a self-test saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct SelfTest {
    pub rows: usize,
    pub written: usize,
    pub rejected: usize,
}

/// A plugin that passed.
pub struct Passed {
    pub component: Arc<PluginComponent>,
    pub factory: Arc<dyn TransformFactory>,
    pub self_test: Option<SelfTest>,
    /// One instance, tried already.
    pub instance: Box<dyn Transform>,
}

/// Loads a component from a file.
///
/// # Errors
/// See [`SandboxError`].
pub fn load(engine: &SandboxEngine, path: &Path, limits: &Limits) -> Result<Arc<PluginComponent>, SandboxError> {
    PluginComponent::load_file(engine, path, limits)
}

impl GateSite {
    /// Describes the plugin for this step's configuration and input.
    ///
    /// # Errors
    /// [`GateError::Contract`] with everything that does not fit.
    pub fn factory(&self, component: &Arc<PluginComponent>) -> Result<WasmTransformFactory, GateError> {
        let input = Arc::clone(&self.site.input);
        let step = &self.site.step;
        WasmTransformFactory::new(component, &self.config, input, &self.limits, step, None)
            .map_err(|faults| self.contract(faults.iter().map(ContractFault::to_string).collect()))
    }

    /// As [`GateSite::factory`], and the steps behind get the columns that they were planned for.
    ///
    /// # Errors
    /// As [`GateSite::factory`].
    pub fn fitting_factory(&self, component: &Arc<PluginComponent>) -> Result<WasmTransformFactory, GateError> {
        let factory = self.factory(component)?;
        let faults = self.column_faults(factory.contract());
        if faults.is_empty() { Ok(factory) } else { Err(self.contract(faults)) }
    }

    /// The whole gate for a version that is to replace the running one.
    ///
    /// # Errors
    /// See [`GateError`].
    pub fn pass(&self, component: &Arc<PluginComponent>) -> Result<Passed, GateError> {
        let factory = self.fitting_factory(component)?;
        let self_test = |fault| GateError::SelfTest { step: self.site.step.to_string(), fault };
        let mut instance = factory.instantiate().map_err(self_test)?;
        let tested = self_test_on(&self.site.sample, instance.as_mut()).map_err(self_test)?;
        Ok(Passed { component: Arc::clone(component), factory: Arc::new(factory), self_test: tested, instance })
    }

    /// What the steps behind would miss, per output and column.
    fn column_faults(&self, contract: &TransformContract) -> Vec<String> {
        let needs = self.consumers.first().map_or("the pipeline".to_owned(), |consumer| format!("`{consumer}`"));
        let has: Vec<&str> = contract.outputs.iter().map(|output| output.name.as_str()).collect();
        let wants = &self.site.output_names;
        if has != *wants {
            return vec![format!(
                "the plugin's outputs are {}; the pipeline's are {}",
                has.join(", "),
                wants.join(", ")
            )];
        }
        let outputs = self.site.outputs.iter().enumerate();
        let faults = outputs.flat_map(|(output, wants)| {
            let gives = contract.output_schema(output, &self.site.input);
            differences(wants, &gives, &needs)
        });
        faults.collect()
    }

    fn contract(&self, faults: Vec<String>) -> GateError {
        GateError::Contract { step: self.site.step.to_string(), faults }
    }
}

fn differences(wants: &SchemaRef, gives: &Schema, needs: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for field in wants.fields() {
        match gives.field_with_name(field.name()) {
            Err(_) => faults.push(format!(
                "column `{}`: {needs} needs {}, this plugin does not give it",
                field.name(),
                type_name(field.data_type())
            )),
            Ok(given) if given.data_type() != field.data_type() => faults.push(format!(
                "column `{}`: {needs} needs {}, this plugin writes {}",
                field.name(),
                type_name(field.data_type()),
                type_name(given.data_type())
            )),
            Ok(given) if given.is_nullable() && !field.is_nullable() => {
                faults
                    .push(format!("column `{}`: {needs} needs it not null, this plugin may write null", field.name()));
            }
            Ok(_) => {}
        }
    }
    let new = gives.fields().iter().filter(|field| wants.index_of(field.name()).is_err());
    faults.extend(new.map(|field| {
        format!("column `{}`: new; columns of a running pipeline stay, restart it to add one", field.name())
    }));
    faults
}

/// A type as manifests write it.
pub fn type_name(data_type: &DataType) -> String {
    weir_manifest::type_text(data_type)
}

/// Runs the stored sample through an instance. No sample, no test.
fn self_test_on(sample: &Sample, instance: &mut dyn Transform) -> Result<Option<SelfTest>, weir_stream::FunctionFault> {
    let started = Instant::now();
    let mut test = SelfTest::default();
    for batch in sample.get() {
        if started.elapsed() > SELF_TEST_BUDGET {
            break;
        }
        let Transformed { outputs, rejects } = instance.process(&batch)?;
        test.rows += batch.rows();
        test.rejected += rejects.len();
        let written = outputs.iter().map(|output| match &output.selection {
            weir_stream::Selection::All => batch.rows(),
            weir_stream::Selection::Rows(selected) => selected.len(),
        });
        test.written += written.sum::<usize>();
    }
    Ok((test.rows > 0).then_some(test))
}

impl Passed {
    /// The order that puts this version into `tasks` tasks, each with an instance made ahead.
    ///
    /// # Errors
    /// When another instance cannot be made.
    pub fn into_order(self, step: Arc<str>, tasks: usize) -> Result<SwapOrder, weir_stream::FunctionFault> {
        let mut instances = vec![self.instance];
        while instances.len() < tasks {
            instances.push(self.factory.instantiate()?);
        }
        Ok(SwapOrder::new(step, self.factory, instances))
    }
}
