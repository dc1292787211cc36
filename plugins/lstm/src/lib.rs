//! An LSTM (Hochreiter and Schmidhuber 1997) that is trained end to end on the Sharpe ratio of its portfolio, after
//! Zhang, Zohren and Roberts 2020, "Deep Learning for Portfolio Optimization", Journal of Financial Data Science 2(4).
//!
//! The inputs are the last `lookback` rows of returns and feature planes, standardised with the mean and the standard
//! deviation of the train span, and a plane that is 1 where the return is present and 0 where it is missing. They pass
//! through LSTM layers with dropout between them, optionally self-attention over the time steps, and a linear layer
//! that scores each asset. The host turns scores into weights with a softmax over the eligible assets.
//!
//! - `arrangement = "joint"`: one sequence with all assets as inputs, `[lookback, assets × (2 + features)]`. Parameters
//!   grow with the number of assets, so these are fixed within a window; an asset that joins later waits for the next
//!   window.
//! - `arrangement = "per_asset"`: one sequence per asset, `[lookback, 2 + features]`, with parameters shared by all
//!   assets. Assets may join and leave at any date.
//!
//! With `output = "last"` the last step decides. With `output = "sequence"` each step decides for its own date, and the
//! loss covers all of them.

use walkforge_plugin::{
    AssetSet, Context, Error, Network, Program, Requirements, Settings, Shape, Value, export_network,
};

/// How assets form sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    Joint,
    PerAsset,
}

/// The settings of a model.
pub struct Lstm {
    /// Hidden units per layer.
    hidden: usize,
    layers: usize,
    lookback: usize,
    min_history: usize,
    arrangement: Arrangement,
    /// Number of attention heads; 0 for no attention.
    heads: usize,
    /// Whether each step decides, not only the last.
    sequence: bool,
    dropout: f64,
}

impl Lstm {
    /// Adds the input planes, each `[lookback, assets]`.
    fn planes(&self, shape: &Shape, program: &mut Program) -> Vec<Value> {
        let planes = ["returns", "known"].into_iter().chain(shape.features.iter().copied());
        planes.map(|plane| program.trailing(plane, self.lookback)).collect()
    }

    /// Adds the sequences: `[lookback, inputs]`, or `[assets, lookback, inputs]` with one per asset.
    fn sequences(&self, shape: &Shape, program: &mut Program) -> Value {
        let planes = self.planes(shape, program);
        match self.arrangement {
            Arrangement::Joint => program.concat(&planes, 1),
            Arrangement::PerAsset => {
                let channel = |plane: Value| {
                    let by_asset = program.transpose(plane, &[1, 0]);
                    program.reshape(by_asset, &[shape.assets, self.lookback, 1])
                };
                let channels: Vec<Value> = planes.into_iter().map(channel).collect();
                program.concat(&channels, 2)
            }
        }
    }

    /// Adds the head: scores `[assets]`, or `[lookback, assets]`, from the hidden states of the last layer.
    fn scores(&self, shape: &Shape, program: &mut Program, states: Value) -> Value {
        let (steps, assets) = (self.lookback, shape.assets);
        match (self.arrangement, self.sequence) {
            (Arrangement::Joint, true) => program.linear("head", states, assets),
            (Arrangement::Joint, false) => {
                let last = program.slice(states, 0, steps - 1, 1);
                let last = program.reshape(last, &[self.hidden]);
                program.linear("head", last, assets)
            }
            (Arrangement::PerAsset, true) => {
                let scores = program.linear("head", states, 1);
                let scores = program.reshape(scores, &[assets, steps]);
                program.transpose(scores, &[1, 0])
            }
            (Arrangement::PerAsset, false) => {
                let last = program.slice(states, 1, steps - 1, 1);
                let last = program.reshape(last, &[assets, self.hidden]);
                let scores = program.linear("head", last, 1);
                program.reshape(scores, &[assets])
            }
        }
    }
}

impl Network for Lstm {
    const DESCRIPTION: &'static str = concat!(
        r#"{"name": "lstm", "kind": "network", "version": ""#,
        env!("CARGO_PKG_VERSION"),
        r#"", "doc": "LSTM over returns, trained on the Sharpe ratio of its portfolio", "settings": ["#,
        r#"{"name": "hidden_size", "type": "integer", "minimum": 1, "maximum": 4096, "default": 128, "#,
        r#""doc": "hidden units per LSTM layer"},"#,
        r#"{"name": "layers", "type": "integer", "minimum": 1, "maximum": 8, "default": 2, "#,
        r#""doc": "number of LSTM layers"},"#,
        r#"{"name": "lookback", "type": "integer", "minimum": 2, "maximum": 10000, "default": 60, "#,
        r#""doc": "rows of returns in the input sequence"},"#,
        r#"{"name": "min_history", "type": "integer", "minimum": 0, "maximum": 10000, "default": null, "#,
        r#""doc": "finite returns an asset needs in the lookback to be held; half of the lookback if not set"},"#,
        r#"{"name": "arrangement", "type": "choice", "choices": ["joint", "per_asset"], "default": "joint", "#,
        r#""doc": "joint: one sequence with all assets as inputs, a fixed list of assets per window; "#,
        r#"per_asset: one sequence per asset with shared parameters, assets may join and leave at any date"},"#,
        r#"{"name": "attention", "type": "boolean", "default": false, "#,
        r#""doc": "adds multi-head self-attention over the time steps after the LSTM layers"},"#,
        r#"{"name": "attention_heads", "type": "integer", "minimum": 1, "maximum": 64, "default": 8, "#,
        r#""doc": "number of attention heads, a divisor of hidden_size"},"#,
        r#"{"name": "output", "type": "choice", "choices": ["last", "sequence"], "default": "last", "#,
        r#""doc": "last: only the last step decides; sequence: each step decides and counts in the loss"},"#,
        r#"{"name": "dropout", "type": "real", "minimum": 0.0, "maximum": 0.95, "default": 0.3, "#,
        r#""doc": "dropout probability between LSTM layers in training"}]}"#
    );

    fn create(settings: &Settings, _context: Context) -> Result<Self, Error> {
        let missing = || Error::new("a setting with a default is missing");
        let count = |name: &str| settings.count(name).ok_or_else(missing);
        let text = |name: &str| settings.text(name).ok_or_else(missing);
        let (hidden, lookback, heads) = (count("hidden_size")?, count("lookback")?, count("attention_heads")?);
        let attention = settings.boolean("attention").ok_or_else(missing)?;
        if attention && !hidden.is_multiple_of(heads) {
            let allowed = format!("a divisor of hidden_size = {hidden}");
            return Err(Error::setting("attention_heads", heads, allowed));
        }
        let min_history = settings.count("min_history").unwrap_or(lookback.div_ceil(2));
        if min_history > lookback {
            return Err(Error::setting("min_history", min_history, format!("at most lookback = {lookback}")));
        }
        Ok(Self {
            hidden,
            layers: count("layers")?,
            lookback,
            min_history,
            arrangement: if text("arrangement")? == "joint" { Arrangement::Joint } else { Arrangement::PerAsset },
            heads: if attention { heads } else { 0 },
            sequence: text("output")? == "sequence",
            dropout: settings.real("dropout").ok_or_else(missing)?,
        })
    }

    fn requirements(&self) -> Requirements {
        Requirements { lookback: self.lookback, min_history: self.min_history }
    }

    fn asset_set(&self) -> AssetSet {
        match self.arrangement {
            Arrangement::Joint => AssetSet::Fixed,
            Arrangement::PerAsset => AssetSet::ByDate,
        }
    }

    fn build(&self, shape: &Shape, program: &mut Program) -> Result<(), Error> {
        let mut states = self.sequences(shape, program);
        for layer in 0..self.layers {
            if layer > 0 && self.dropout > 0.0 {
                states = program.dropout(states, self.dropout as f32);
            }
            states = program.lstm(&format!("lstm.{layer}"), states, self.hidden);
        }
        if self.heads > 0 {
            states = program.attention("attention", states, self.heads);
        }
        let scores = self.scores(shape, program, states);
        program.output_scores(scores);
        Ok(())
    }
}

export_network!(wf_plugin_init_lstm, Lstm);
