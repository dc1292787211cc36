//! Times one optimiser step of an LSTM over all assets (2 layers, 60 steps, Sharpe loss), one thread. Prints a JSON line a shape:
//! assets, hidden, batch, and the median and the least of the seconds of a step.

use std::sync::Arc;
use std::time::Instant;

use walkforge::error::Result;
use walkforge::program::{Builder, Program};
use walkforge::random::Random;
use walkforge::train::{StepSettings, Stepper};

const STEPS: usize = 60;

fn network(assets: usize, hidden: usize) -> Result<Program> {
    let mut builder = Builder::new();
    let x = builder.input("x", &[STEPS, assets])?;
    let mask = builder.input("mask", &[assets])?;
    let first = builder.lstm("lstm.0", x, hidden)?;
    let second = builder.lstm("lstm.1", first, hidden)?;
    let last = builder.last(second)?;
    let logits = builder.linear("head", last, assets)?;
    let weights = builder.masked_softmax(logits, mask)?;
    builder.finish(weights)
}

fn main() -> Result<()> {
    for (assets, hidden, batch) in [(20, 128, 32), (20, 128, 128), (20, 128, 256), (100, 128, 64), (20, 64, 32)] {
        let random = Random::new(1, 0, 0);
        let draw = |stream: u64, count: usize| -> Vec<f32> {
            (0..count as u64).map(|place| random.uniform((stream << 32) + place) - 0.5).collect()
        };
        let (x, labels) = (draw(0, batch * STEPS * assets), draw(1, batch * assets));
        let mask = vec![1.0; batch * assets];
        let program = Arc::new(network(assets, hidden)?);
        let mut stepper = Stepper::new(program, StepSettings::default(), batch, batch, false, 1);
        let mut seconds = Vec::new();
        for _ in 0..12 {
            let started = Instant::now();
            stepper.step(&[&x, &mask], &labels, batch, 1e-3)?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        println!(
            "{{\"assets\": {assets}, \"hidden\": {hidden}, \"batch\": {batch}, \"median\": {}, \"least\": {}}}",
            seconds[seconds.len() / 2],
            seconds[0]
        );
    }
    Ok(())
}
