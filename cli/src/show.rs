//! `walkforge plugin show`: a plugin's description, and a network's program and memory.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use walkforge::internals::engine::{StepSettings, Stepper};
use walkforge::internals::model::{AssetSet, Context, Factory, Model, Network};
use walkforge::internals::network::BoundNetwork;
use walkforge::internals::objective::Head;
use walkforge::internals::program::{Input, InputSource, Parameter, Precision, Purpose};
use walkforge::internals::settings::{Setting, SettingValues, parse_toml};
use walkforge::{Code, Error, Plugin, Result, TrainSettings};

/// Parses settings given as `key=value`. A value that is not TOML is taken as text.
pub(crate) fn settings_of<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Map<String, Json>> {
    let mut out = Map::new();
    for entry in entries {
        let Some((key, text)) = entry.split_once('=') else {
            let message = format!("setting '{entry}' needs a value: {entry}=value");
            return Err(Error::new(Code::InvalidSetting, message));
        };
        let value = parse_toml(&format!("v = {text}")).map_or_else(|_| json!(text), |table| table["v"].clone());
        out.insert(key.to_owned(), value);
    }
    Ok(out)
}

/// The text for a plugin with the given settings; a network is described for `assets` assets.
pub(crate) fn text(plugin: &Plugin, assets: usize, features: &[String], given: &[String]) -> Result<String> {
    let values = SettingValues::check("settings", plugin.settings(), &settings_of(given.iter().map(String::as_str))?)?;
    let model = plugin.create(&values, &Context::default())?;
    let described: Json = serde_json::from_str(plugin.description()).unwrap_or_default();
    let kind = described["kind"].as_str().unwrap_or_default();
    let mut out = format!("{} {}, {kind}\n", plugin.name(), plugin.version());
    if let Some(doc) = described["doc"].as_str().filter(|doc| !doc.is_empty()) {
        out.extend([doc, "\n"]);
    }
    if let Some(sha256) = plugin.sha256() {
        out.extend(["SHA-256 ", sha256, "\n"]);
    }
    settings(&mut out, plugin.settings(), &values);
    let needs = match &model {
        Model::Estimator(model) => model.requirements(),
        Model::Network(network) => network.requirements(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "\nA decision uses {} and the assets with at least {} returns in them.",
        if needs.lookback == usize::MAX { "all rows".to_owned() } else { format!("the last {} rows", needs.lookback) },
        needs.min_history
    );
    if let Model::Network(network) = &model {
        network_of(&mut out, network, assets, features)?;
    }
    Ok(out)
}

fn settings(out: &mut String, declared: &[Setting], values: &SettingValues) {
    if declared.is_empty() {
        out.push_str("\nNo settings.\n");
        return;
    }
    out.push_str("\nSettings\n");
    let text = |value: Option<&Json>| value.filter(|value| !value.is_null()).map_or("none".to_owned(), Json::to_string);
    let rows: Vec<[String; 3]> = declared
        .iter()
        .map(|setting| {
            let (default, current) = (text(Some(&setting.default)), text(values.get(&setting.name)));
            let value =
                if current == default { format!("default {default}") } else { format!("{current}, default {default}") };
            [setting.name.clone(), setting.kind.to_string(), value]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for ([name, allowed, default], setting) in rows.iter().zip(declared) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {name:0$}  {allowed:1$}  {default:2$}  {doc}",
            widths[0],
            widths[1],
            widths[2],
            doc = setting.doc
        );
    }
}

fn network_of(out: &mut String, network: &Arc<dyn Network>, assets: usize, features: &[String]) -> Result<()> {
    let Some(bound) = BoundNetwork::new(&**network, assets, features, Head::Weights, Precision::Fp32)? else {
        return Err(Error::new(Code::Internal, "the network was not bound for training"));
    };
    let asset_set = match network.asset_set() {
        AssetSet::ByDate => "the eligible assets of each date",
        AssetSet::Fixed => "the same for all dates of a window",
    };
    let program = &bound.program;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "Its assets are {asset_set}.\n\nNetwork for {assets} assets, with the head for training\n\n{program}"
    );
    let is_computed = |input: &&Input| matches!(input.source, InputSource::Computed { .. });
    let computed = program.inputs().iter().filter(is_computed).count();
    let batch = TrainSettings::from_sections(&Map::new(), None)?.batch;
    let parameters: usize = program.parameters().iter().map(Parameter::count).sum();
    let _ = write!(
        out,
        "\n{} inputs, {computed} of them computed by the plugin; {parameters} parameters in {} tensors\n\n\
         Memory of one network, without the data\n",
        program.inputs().len(),
        program.parameters().len()
    );
    for (micro_batch, recompute) in [(batch, false), (batch, true), (32, false), (1, false)] {
        let bytes = Stepper::planned_bytes(program, &StepSettings::default(), batch, micro_batch, recompute);
        let recompute = if recompute { ", gates recomputed" } else { "" };
        let label = format!("training, batch of {batch} dates, micro-batch of {micro_batch}{recompute}");
        let _ = writeln!(out, "  {label:66}  {bytes:>12} bytes");
    }
    let bytes = program.plan(Purpose::Predict, 1).bytes();
    let _ = writeln!(out, "  {:66}  {bytes:>12} bytes", "prediction, one date");
    Ok(())
}
