//! Times a prediction of an LSTM over all assets (2 layers, 60 steps), one thread, for one sample and for batches. Prints
//! a JSON line per shape, precision and instruction level: these, the median and the least of the seconds of a batch,
//! and the bytes of packed weights.

mod levels;

use std::sync::Arc;
use std::time::Instant;

use walkforge::Result;
use walkforge::internals::device::cpu::SimdLevel;
use walkforge::internals::engine::{MicroBatch, Replica};
use walkforge::internals::program::{Builder, Precision, Program, Purpose};
use walkforge::internals::random::Random;
use walkforge::internals::settings::Choice as _;

use levels::at_every_level;

const STEPS: usize = 60;
const REPEATS: usize = 2000;

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
    at_every_level(bench)
}

fn bench(level: SimdLevel) -> Result<()> {
    for (assets, hidden, batch) in [(20, 128, 1), (20, 128, 4), (20, 128, 32), (20, 64, 1), (20, 64, 32)] {
        for (name, precision) in [("fp32", Precision::Fp32), ("fp16", Precision::Fp16)] {
            let random = Random::new(1, 0, 0);
            let program = Arc::new(network(assets, hidden)?.with_precision(precision));
            let plan = Arc::new(program.plan(Purpose::Predict, batch));
            let mut replica = Replica::new(Arc::clone(&program), plan, 1);
            let master = replica.initial_parameters();
            let mut parameters = master.clone();
            program.cast_parameters(&master, &mut parameters);
            let packed = program.pack(&parameters);
            let step = MicroBatch { size: batch, offset: 0, training: false, step: 0 };
            let mut seconds = Vec::new();
            let x: Vec<f32> =
                (0..(batch * STEPS * assets) as u64).map(|position| random.uniform(position) - 0.5).collect();
            for _ in 0..(REPEATS / batch).max(100) {
                let started = Instant::now();
                replica.input(0, batch).copy_from_slice(&x);
                replica.input(1, batch).fill(1.0);
                let output = replica.predict(&parameters, &packed, step);
                std::hint::black_box(output);
                seconds.push(started.elapsed().as_secs_f64());
            }
            seconds.sort_by(f64::total_cmp);
            println!(
                "{{\"level\": \"{}\", \"assets\": {assets}, \"hidden\": {hidden}, \"batch\": {batch}, \
                 \"precision\": \"{name}\", \"median\": {}, \"least\": {}, \"bytes\": {}}}",
                level.name(),
                seconds[seconds.len() / 2],
                seconds[0],
                packed.bytes()
            );
        }
    }
    Ok(())
}
