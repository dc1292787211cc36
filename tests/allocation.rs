//! A prediction takes no memory after the first one.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use walkforge::ops::{Activation, Reshape, Transpose};
use walkforge::program::{Builder, MicroBatch, Precision, Program, Purpose, Replica};
use walkforge::random::Random;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// The system's memory, with a count of how often this thread takes some.
struct Counting;

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STEPS: usize = 20;
const ASSETS: usize = 6;

/// Two layers over all assets, with what stands around them in networks.
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

/// A sequence an asset.
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
fn predictions_take_no_memory_after_the_first() {
    for (name, program) in [("joint", joint as fn() -> Program), ("per asset", per_asset)] {
        for precision in [Precision::Fp32, Precision::Fp16] {
            let program = Arc::new(program().with_precision(precision));
            let plan = Arc::new(program.plan(Purpose::Predict, 1));
            let mut replica = Replica::new(Arc::clone(&program), plan, 1);
            let master = replica.initial_parameters();
            let mut parameters = master.clone();
            program.cast_parameters(&master, &mut parameters);
            let packed = program.pack(&parameters);
            let step = MicroBatch { size: 1, offset: 0, training: false, step: 0 };
            let random = Random::new(1, 0, 0);
            let mut taken = [0; 5];
            let mut sum = 0.0;
            for (call, taken) in taken.iter_mut().enumerate() {
                let before = TAKEN.get();
                for (place, number) in replica.input(0, 1).iter_mut().enumerate() {
                    *number = random.uniform((1000 * call + place) as u64) - 0.5;
                }
                replica.input(1, 1).fill(1.0);
                sum += replica.predict(&parameters, &packed, step).iter().sum::<f32>();
                *taken = TAKEN.get() - before;
            }
            assert!((sum - 5.0).abs() < 1e-4, "{name}: {sum}");
            assert_eq!(taken[1..], [0; 4], "{name}, {precision:?}");
        }
    }
}

#[test]
fn what_is_taken_is_counted() {
    let before = TAKEN.get();
    std::hint::black_box(vec![0_u8; 100]);
    assert!(TAKEN.get() > before);
}
