//! Predictions allocate no memory after the first.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use walkforge::internals::engine::{MicroBatch, Replica, State};
use walkforge::internals::ops::{Activation, Reshape, Transpose};
use walkforge::internals::program::{Builder, Precision, Program, Purpose};
use walkforge::internals::random::Random;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system allocator, which counts the allocations of each thread.
struct Counting;

// SAFETY: all calls are passed on to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the contract of this function is that of the system allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the contract of this function is that of the system allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STEPS: usize = 20;
const ASSETS: usize = 6;

/// Two LSTM layers over all assets, with the ops that usually surround them.
fn joint() -> Program {
    let mut builder = Builder::new();
    let (x, mask) = (builder.input("x", &[STEPS, ASSETS]).unwrap(), builder.input("mask", &[ASSETS]).unwrap());
    let first = builder.lstm("lstm.0", x, 20).unwrap();
    let dropped = builder.dropout(first, 0.3).unwrap();
    let second = builder.lstm("lstm.1", dropped, 20).unwrap();
    let last = builder.last(second).unwrap();
    let normal = builder.layer_norm("norm", last).unwrap();
    let bent = builder.activation(normal, Activation::Tanh).unwrap();
    let logits = builder.linear("head", bent, ASSETS).unwrap();
    let weights = builder.masked_softmax(logits, mask).unwrap();
    builder.finish(weights).unwrap()
}

/// One sequence per asset.
fn per_asset() -> Program {
    let mut builder = Builder::new();
    let (x, mask) = (builder.input("x", &[STEPS, 2]).unwrap(), builder.input("mask", &[2]).unwrap());
    let turned = builder.op(Transpose { order: vec![1, 0] }, &[x]).unwrap();
    let sequences = builder.op(Reshape { shape: vec![2, STEPS, 1] }, &[turned]).unwrap();
    let states = builder.lstm("lstm.0", sequences, 20).unwrap();
    let turned = builder.op(Transpose { order: vec![1, 0, 2] }, &[states]).unwrap();
    let last = builder.last(turned).unwrap();
    let logits = builder.linear("head", last, 1).unwrap();
    let logits = builder.op(Reshape { shape: vec![2] }, &[logits]).unwrap();
    let weights = builder.masked_softmax(logits, mask).unwrap();
    builder.finish(weights).unwrap()
}

#[test]
fn predictions_allocate_nothing_after_the_first() {
    for (name, program) in [("joint", joint as fn() -> Program), ("per asset", per_asset)] {
        for precision in [Precision::Fp32, Precision::Fp16] {
            let program = Arc::new(program().with_precision(precision));
            let plan = Arc::new(program.plan(Purpose::Predict, 1));
            let mut replica = Replica::new(Arc::clone(&program), plan, 1);
            let master = State::initial(&program, 1).parameters;
            let mut parameters = master.clone();
            program.cast_parameters(&master, &mut parameters);
            let packed = program.pack(&parameters);
            let step = MicroBatch { size: 1, offset: 0, training: false, step: 0 };
            let random = Random::new(1, 0, 0);
            let mut allocations = [0; 5];
            let mut sum = 0.0;
            for (call, allocations) in allocations.iter_mut().enumerate() {
                let before = ALLOCATIONS.get();
                for (index, value) in replica.input(0, 1).iter_mut().enumerate() {
                    *value = random.uniform((1000 * call + index) as u64) - 0.5;
                }
                replica.input(1, 1).fill(1.0);
                sum += replica.predict(&parameters, &packed, step).iter().sum::<f32>();
                *allocations = ALLOCATIONS.get() - before;
            }
            assert!((sum - 5.0).abs() < 1e-4, "{name}: {sum}");
            assert_eq!(allocations[1..], [0; 4], "{name}, {precision:?}");
        }
    }
}

#[test]
fn allocations_are_counted() {
    let before = ALLOCATIONS.get();
    std::hint::black_box(vec![0_u8; 100]);
    assert!(ALLOCATIONS.get() > before);
}
