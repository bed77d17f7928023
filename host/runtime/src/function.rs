//! A user's function of any world, for everything that only swaps, names and counts versions of it.

use std::sync::Arc;

use arrow_schema::{FieldRef, SchemaRef};
use weir_operators::NextFunction;
use weir_stream::{
    AggregateContract, AggregateFactory, AggregateFunction, FunctionFault, KeyedContract, KeyedFunction,
    KeyedFunctionFactory, OutputContract, Transform, TransformContract, TransformFactory,
};

/// A loaded and checked version.
#[derive(Clone)]
pub enum Function {
    /// Row by row.
    Rows(Arc<dyn TransformFactory>),
    /// With state by key.
    Keyed(Arc<dyn KeyedFunctionFactory>),
    /// Among a step's aggregates.
    Aggregate(Arc<dyn AggregateFactory>),
}

/// One task's instance of a version.
pub enum Instance {
    Rows(Box<dyn Transform>),
    Keyed(Box<dyn KeyedFunction>),
    Aggregate(Box<dyn AggregateFunction>),
}

/// What a version promised.
#[derive(Debug, Clone, PartialEq)]
pub enum Contract {
    Rows(TransformContract),
    Keyed(KeyedContract),
    Aggregate(AggregateContract),
}

impl Function {
    pub fn digest(&self) -> &Arc<str> {
        match self {
            Self::Rows(factory) => factory.digest(),
            Self::Keyed(factory) => factory.digest(),
            Self::Aggregate(factory) => factory.digest(),
        }
    }

    /// The version for a keyed step, with an instance made ahead, if there is one.
    pub fn in_keyed_step(&self, instance: Option<Instance>) -> Option<NextFunction> {
        match (self, instance) {
            (Self::Rows(_), _) => None,
            (Self::Keyed(factory), instance) => {
                let instance =
                    instance.and_then(|made| if let Instance::Keyed(made) = made { Some(made) } else { None });
                Some(NextFunction::Keyed { factory: Arc::clone(factory), instance })
            }
            (Self::Aggregate(factory), instance) => {
                let instance =
                    instance.and_then(|made| if let Instance::Aggregate(made) = made { Some(made) } else { None });
                Some(NextFunction::Aggregate { factory: Arc::clone(factory), instance })
            }
        }
    }

    pub fn contract(&self) -> Contract {
        match self {
            Self::Rows(factory) => Contract::Rows(factory.contract().clone()),
            Self::Keyed(factory) => Contract::Keyed(factory.contract().clone()),
            Self::Aggregate(factory) => Contract::Aggregate(factory.contract().clone()),
        }
    }

    /// # Errors
    /// When an instance cannot be made.
    pub fn instantiate(&self) -> Result<Instance, FunctionFault> {
        Ok(match self {
            Self::Rows(factory) => Instance::Rows(factory.instantiate()?),
            Self::Keyed(factory) => Instance::Keyed(factory.instantiate()?),
            Self::Aggregate(factory) => Instance::Aggregate(factory.instantiate()?),
        })
    }
}

impl Contract {
    pub fn name(&self) -> &str {
        match self {
            Self::Rows(contract) => &contract.name,
            Self::Keyed(contract) => &contract.name,
            Self::Aggregate(contract) => &contract.name,
        }
    }

    pub fn version(&self) -> &str {
        match self {
            Self::Rows(contract) => &contract.version,
            Self::Keyed(contract) => &contract.version,
            Self::Aggregate(contract) => &contract.version,
        }
    }

    pub fn reads(&self) -> &[String] {
        match self {
            Self::Rows(contract) => &contract.reads,
            Self::Keyed(contract) => &contract.reads,
            Self::Aggregate(contract) => &contract.reads,
        }
    }

    pub fn is_deterministic(&self) -> bool {
        match self {
            Self::Rows(contract) => contract.deterministic,
            Self::Keyed(contract) => contract.deterministic,
            Self::Aggregate(contract) => contract.deterministic,
        }
    }

    pub fn outputs(&self) -> Vec<&OutputContract> {
        match self {
            Self::Rows(contract) => contract.outputs.iter().collect(),
            Self::Keyed(contract) => contract.outputs.iter().map(|output| &output.output).collect(),
            // Its result is a column of the step's only output.
            Self::Aggregate(_) => Vec::new(),
        }
    }

    /// By number of the output, for rows with these columns and, of a keyed function, this key.
    pub fn output_schemas(&self, input: &SchemaRef, key: &SchemaRef) -> Vec<SchemaRef> {
        (0..self.outputs().len())
            .map(|output| match self {
                Self::Rows(contract) => contract.output_schema(output, input),
                Self::Keyed(contract) => contract.output_schema(output, input, key),
                Self::Aggregate(_) => unreachable!("it has no outputs"),
            })
            .collect()
    }

    /// Why state written under `self` is of no use to `other`, per state and timer.
    pub fn state_differences(&self, other: &Self) -> Vec<String> {
        if let (Self::Aggregate(running), Self::Aggregate(new)) = (self, other) {
            let (was, is) = (accumulator(running), accumulator(new));
            let fault = || format!("accumulator: the running version keeps {was}, this plugin {is}");
            return if was == is { Vec::new() } else { vec![fault()] };
        }
        let (Self::Keyed(running), Self::Keyed(new)) = (self, other) else { return Vec::new() };
        let mut faults = differences("state", &states(running), &states(new));
        faults.extend(differences("timer", &timers(running), &timers(new)));
        faults
    }
}

fn columns(fields: &[FieldRef]) -> String {
    let column = |field: &FieldRef| {
        let required = if field.is_nullable() { "" } else { "!" };
        format!("{} {}{required}", field.name(), weir_manifest::type_text(field.data_type()))
    };
    fields.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Version and shape of an aggregate's accumulators.
pub fn accumulator(contract: &AggregateContract) -> String {
    format!("version {} ({})", contract.state_version, columns(&contract.state))
}

/// Name and shape of each state.
pub fn states(contract: &KeyedContract) -> Vec<(String, String)> {
    let state = |state: &weir_stream::StateContract| {
        let (key, rest) = state.fields.split_at(state.map_key);
        let to = if key.is_empty() { String::new() } else { format!("{} -> ", columns(key)) };
        (state.name.clone(), format!("{}({to}{})", state.kind.name(), columns(rest)))
    };
    contract.states.iter().map(state).collect()
}

/// Name and time domain of each timer.
pub fn timers(contract: &KeyedContract) -> Vec<(String, String)> {
    contract.timers.iter().map(|timer| (timer.name.clone(), format!("{} time", timer.domain.name()))).collect()
}

fn differences(what: &str, running: &[(String, String)], new: &[(String, String)]) -> Vec<String> {
    let shape =
        |of: &[(String, String)], name: &str| of.iter().find(|(n, _)| n == name).map(|(_, shape)| shape.clone());
    let mut faults = Vec::new();
    for (name, was) in running {
        match shape(new, name) {
            None => {
                faults.push(format!("{what} `{name}`: the running version keeps {was}, this plugin has no such {what}"))
            }
            Some(is) if is != *was => {
                faults.push(format!("{what} `{name}`: the running version keeps {was}, this plugin {is}"));
            }
            Some(_) => {}
        }
    }
    let added = new.iter().filter(|(name, _)| shape(running, name).is_none());
    faults
        .extend(added.map(|(name, is)| format!("{what} `{name}`: new, {is}; the running version has no such {what}")));
    let order = |of: &[(String, String)]| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ");
    if faults.is_empty() && order(running) != order(new) {
        faults.push(format!("{what}s: in the order {}, the running version has {}", order(new), order(running)));
    }
    faults
}
