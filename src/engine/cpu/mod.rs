//! The CPU as an engine. Replicas spread over threads as far as memory allows, then the parts of a batch do.

mod by_date;
mod packed;
mod replica;
mod step;
mod stepper;
mod target;

pub(crate) use packed::PackedParameters;
pub use replica::{MicroBatch, Replica};
pub use step::StepOutcome;
pub(crate) use step::{Samples, StepPlan, Workspace, largest_part, parts};
pub use stepper::{StepSettings, Stepper};

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::planes::PlaneView;
use super::{Engine, EpochWork, Hyperparameters, InputData, Planes, State, StateSelection, Stop, Tables, WindowView};
use crate::device::{Parallel, Team};
use crate::error::{Code, Error, Result, fail};
use crate::objective::Objective;
use crate::program::Program;

/// A replica in a slot.
struct Slot {
    view: Arc<WindowView>,
    tables: Arc<Tables>,
    hyperparameters: Hyperparameters,
    state: State,
}

/// The CPU engine for a stack of replicas of one program.
pub(crate) struct CpuEngine {
    program: Arc<Program>,
    objective: Objective,
    plan: StepPlan,
    turnover: bool,
    /// Replicas that train side by side, each in a workspace of its own.
    side_by_side: usize,
    team: Arc<Team>,
    planes: Option<Arc<Planes>>,
    slots: Vec<Option<Slot>>,
    /// Workspaces that no replica uses.
    idle: Mutex<Vec<Workspace>>,
}

impl CpuEngine {
    /// An engine for `stack` replicas; `turnover` is whether the loss of any of them charges trading costs. Nothing is
    /// allocated before the first epoch.
    pub(crate) fn new(
        program: Arc<Program>,
        objective: Objective,
        plan: StepPlan,
        turnover: bool,
        (stack, team): (usize, Arc<Team>),
    ) -> Self {
        Self {
            program,
            objective,
            plan,
            turnover,
            side_by_side: 1,
            team,
            planes: None,
            slots: (0..stack).map(|_| None).collect(),
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Workspace>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workspace(&self) -> Workspace {
        let idle = self.idle().pop();
        idle.unwrap_or_else(|| Workspace::new(Arc::clone(&self.program), self.objective, self.plan, self.turnover))
    }

    fn slot(&self, slot: usize) -> Result<&Slot> {
        match self.slots.get(slot) {
            Some(Some(slot)) => Ok(slot),
            _ => fail!(Internal, "there is no replica in slot {slot} of {}", self.slots.len()),
        }
    }

    /// Trains the rest of an epoch of one replica.
    fn epoch_of(&self, slot: &mut Slot, work: &mut EpochWork, planes: &Planes, stop: &Stop) -> Result<()> {
        let Slot { view, tables, hyperparameters, state } = slot;
        let mut workspace = self.workspace();
        workspace.begin(hyperparameters, state);
        let view_of_planes = planes.view();
        while let Some(batch) = work.batches.get(work.cursor) {
            let samples = ViewSamples::new(&self.program, (planes, &view_of_planes), view, tables, batch);
            let outcome = if stop() {
                Err(Error::new(Code::Cancelled, "training was cancelled; further steps continue it"))
            } else {
                workspace.step(state, hyperparameters, &samples, work.learning_rate, (&*self.team, stop))
            };
            match outcome {
                Ok(StepOutcome { loss, skipped, .. }) => {
                    work.cursor += 1;
                    work.skipped += u32::from(skipped);
                    work.loss += if skipped { 0.0 } else { loss };
                }
                Err(error) if error.code() == Code::Cancelled => {
                    self.idle().push(workspace);
                    return Err(error);
                }
                Err(error) => {
                    work.fault = Some(error);
                    break;
                }
            }
        }
        self.idle().push(workspace);
        Ok(())
    }
}

impl Engine for CpuEngine {
    fn load(&mut self, planes: &Arc<Planes>) -> Result<()> {
        self.planes = Some(Arc::clone(planes));
        Ok(())
    }

    fn begin(
        &mut self,
        slot: usize,
        view: &Arc<WindowView>,
        tables: &Arc<Tables>,
        hyperparameters: Hyperparameters,
        state: State,
    ) -> Result<()> {
        step::check_inputs(&self.program)?;
        let Some(planes) = &self.planes else { fail!(Internal, "no planes were loaded") };
        if view.end() > planes.rows {
            fail!(Internal, "a window ends at row {} of planes with {} rows", view.end(), planes.rows);
        }
        let count = self.slots.len();
        let Some(free) = self.slots.get_mut(slot) else { fail!(Internal, "slot {slot} of {count}") };
        let (view, tables) = (Arc::clone(view), Arc::clone(tables));
        *free = Some(Slot { view, tables, hyperparameters, state });
        Ok(())
    }

    fn epoch(&mut self, work: &mut [EpochWork], stop: &Stop) -> Result<()> {
        let Some(planes) = self.planes.clone() else { fail!(Internal, "no planes were loaded") };
        let mut taken = Vec::with_capacity(work.len());
        for work in work.iter_mut() {
            match self.slots.get_mut(work.slot).and_then(Option::take) {
                Some(slot) => taken.push(Mutex::new((slot, work, Ok(())))),
                None => fail!(Internal, "there is no replica in slot {}", work.slot),
            }
        }
        let next = AtomicUsize::new(0);
        self.team.for_each(self.side_by_side.min(taken.len()), &|_| {
            while let Some(one) = taken.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (slot, work, outcome) = &mut *one.lock().unwrap_or_else(PoisonError::into_inner);
                *outcome = self.epoch_of(slot, work, &planes, stop);
            }
        });
        let mut outcome = Ok(());
        for one in taken {
            let (slot, work, one) = one.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.slots[work.slot] = Some(slot);
            outcome = outcome.and(one);
        }
        outcome
    }

    fn predict(&mut self, slot: usize, samples: &[u32], out: &mut [f32], stop: &Stop) -> Result<()> {
        let Some(planes) = &self.planes else { fail!(Internal, "no planes were loaded") };
        let Slot { view, tables, hyperparameters, state } = self.slot(slot)?;
        let mut workspace = self.workspace();
        workspace.begin(hyperparameters, state);
        let plane_view = planes.view();
        let samples = ViewSamples::new(&self.program, (planes, &plane_view), view, tables, samples);
        let outcome = workspace.predict(state, &samples, out, (&*self.team, stop));
        self.idle().push(workspace);
        outcome
    }

    fn read(&mut self, slot: usize, selection: StateSelection) -> Result<State> {
        let state = &self.slot(slot)?.state;
        Ok(match selection {
            StateSelection::All => state.clone(),
            StateSelection::Parameters => {
                let (parameters, steps, loss_scale) = (state.parameters.clone(), state.steps, state.loss_scale);
                State { parameters, first: Vec::new(), second: Vec::new(), steps, loss_scale }
            }
        })
    }

    fn set_side_by_side(&mut self, count: usize) {
        self.side_by_side = count.max(1);
        self.idle().truncate(self.side_by_side);
    }

    fn bytes(&self) -> usize {
        let tensors = |state: &State| [&state.parameters, &state.first, &state.second].map(Vec::len);
        let states: usize = self.slots.iter().flatten().flat_map(|slot| tensors(&slot.state)).sum();
        states * size_of::<f32>() + self.idle().first().map_or(0, Workspace::bytes)
    }

    fn end(&mut self, slot: usize) -> Result<State> {
        self.slot(slot)?;
        match self.slots[slot].take() {
            Some(slot) => Ok(slot.state),
            None => fail!(Internal, "there is no replica in slot {slot}"),
        }
    }
}

/// Samples of a window.
struct ViewSamples<'a> {
    program: &'a Program,
    planes: &'a Planes,
    view: &'a WindowView,
    data: InputData<'a>,
    samples: &'a [u32],
}

impl<'a> ViewSamples<'a> {
    fn new(
        program: &'a Program,
        (planes, plane_view): (&'a Planes, &PlaneView<'a>),
        view: &'a WindowView,
        tables: &'a Tables,
        samples: &'a [u32],
    ) -> Self {
        let data = InputData { planes: plane_view.clone(), normalizer: &view.normalizer, tables, end: view.end() };
        Self { program, planes, view, data, samples }
    }
}

impl Samples for ViewSamples<'_> {
    fn size(&self) -> usize {
        self.samples.len()
    }

    fn input(&self, input: usize, samples: Range<usize>, out: &mut [f32]) {
        let elements = out.len() / samples.len();
        let source = &self.program.inputs()[input].source;
        for (out, &sample) in out.chunks_exact_mut(elements).zip(&self.samples[samples]) {
            let sample = sample as usize;
            self.data.fill(source, self.view.row(sample), self.view.slots_of(sample), out);
        }
    }

    fn labels(&self, samples: Range<usize>, out: &mut [f32]) {
        let elements = out.len() / samples.len();
        for (out, &sample) in out.chunks_exact_mut(elements).zip(&self.samples[samples]) {
            self.view.labels(self.planes, sample as usize, out);
        }
    }

    fn date(&self, sample: usize) -> Option<(u32, u32)> {
        let sample = self.samples[sample] as usize;
        Some((self.view.assignment(sample), self.view.row(sample) as u32))
    }

    fn slots(&self, sample: usize) -> &[i32] {
        self.view.slots_of(self.samples[sample] as usize)
    }

    fn is_consecutive(&self, sample: usize) -> bool {
        let row = |sample: usize| self.view.row(self.samples[sample] as usize);
        sample > 0 && row(sample) == row(sample - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{CpuEngine, StepPlan};
    use crate::device::{Pool, Team};
    use crate::engine::gather::tests::noise;
    use crate::engine::{
        AdamSettings, Engine, EpochWork, Hyperparameters, LabelRule, Normalizer, Planes, State, StateSelection, Tables,
        WindowView,
    };
    use crate::error::Code;
    use crate::objective::{LabelKind, Objective};
    use crate::program::{Builder, InputSource, Plane, Program};

    const ROWS: usize = 90;
    const ASSETS: usize = 3;
    const STEPS: usize = 4;
    const SAMPLES: usize = 70;

    fn program() -> Arc<Program> {
        program_with(0.3)
    }

    fn program_with(dropout: f32) -> Arc<Program> {
        let mut builder = Builder::new();
        let trailing = InputSource::Trailing { plane: Plane::Returns, rows: STEPS };
        let x = builder.input_from("returns", &[STEPS, ASSETS], trailing).unwrap();
        let mask = builder.input_from("mask", &[ASSETS], InputSource::Mask).unwrap();
        let states = builder.lstm("lstm", x, 5).unwrap();
        let last = builder.last(states).unwrap();
        let last = builder.dropout(last, dropout).unwrap();
        let logits = builder.linear("head", last, ASSETS).unwrap();
        let weights = builder.masked_softmax(logits, mask).unwrap();
        Arc::new(builder.finish(weights).unwrap())
    }

    /// The shares of dropout of replicas.
    const SHARES: [f32; 3] = [0.3, 0.4, 0.55];

    /// An engine on `threads` threads with `stack` replicas of consecutive seeds and different shares of dropout.
    fn engine(plan: StepPlan, stack: usize, threads: usize) -> CpuEngine {
        engine_of(program(), plan, 0..stack, threads)
    }

    /// An engine with some of these replicas, each with scalars of its own.
    fn engine_of(of: Arc<Program>, plan: StepPlan, replicas: Range<usize>, threads: usize) -> CpuEngine {
        let panel = noise(ROWS, ASSETS);
        let team = Arc::new(Team::new(Arc::new(Pool::new(threads).unwrap()), threads));
        let mut out = CpuEngine::new(of, Objective::Sharpe, plan, false, (replicas.len(), team));
        out.load(&Arc::new(Planes::of(&panel))).unwrap();
        let slots: Vec<i32> = (0..ASSETS as i32).collect();
        let samples = (STEPS..STEPS + SAMPLES).map(|row| (row, slots.as_slice()));
        let label = LabelRule { kind: LabelKind::Held, horizon: 1, lag: 0 };
        let normalizer = Normalizer::fit_planes(&panel, &(0..ROWS));
        let view = Arc::new(WindowView::new(ROWS, ASSETS, samples, normalizer, label));
        for (slot, replica) in replicas.enumerate() {
            let (seed, adam) = (replica as u64, AdamSettings::default());
            let scalars = program_with(SHARES[replica]).scalars();
            let hyperparameters = Hyperparameters { seed, adam, clip_norm: 1.0, turnover: 0.0, scalars };
            let state = State::initial(&program(), seed);
            out.begin(slot, &view, &Arc::<Tables>::default(), hyperparameters, state).unwrap();
        }
        out
    }

    /// Work of one epoch: two batches, as even and odd samples.
    fn work(slot: usize) -> EpochWork {
        let batch = |first: u32| (first..SAMPLES as u32).step_by(2).collect();
        let batches = Arc::new(vec![batch(0), batch(1)]);
        EpochWork { slot, batches, cursor: 0, learning_rate: 1e-2, loss: 0.0, skipped: 0, fault: None }
    }

    fn bits(state: &State) -> Vec<u32> {
        let tensors = [&state.parameters, &state.first, &state.second];
        tensors.into_iter().flatten().map(|value| value.to_bits()).collect()
    }

    fn trained(mut engine: CpuEngine, stack: usize, side_by_side: usize) -> Vec<Vec<u32>> {
        engine.set_side_by_side(side_by_side);
        for _ in 0..3 {
            let mut works: Vec<EpochWork> = (0..stack).map(work).collect();
            engine.epoch(&mut works, &|| false).unwrap();
            assert!(works.iter().all(|work| work.cursor == 2 && work.fault.is_none() && work.loss != 0.0));
        }
        (0..stack).map(|slot| bits(&engine.read(slot, StateSelection::All).unwrap())).collect()
    }

    #[test]
    fn no_bit_depends_on_threads_lanes_or_the_replicas_beside() {
        let whole = StepPlan { date_rows: ROWS, ..StepPlan::whole(SAMPLES / 2) };
        let together = trained(engine(whole, 3, 1), 3, 1);
        assert!(together[0] != together[1] && together[1] != together[2]);
        for threads in [2, 4] {
            for side_by_side in [1, 2, 3] {
                assert!(trained(engine(whole, 3, threads), 3, side_by_side) == together, "{threads} {side_by_side}");
            }
        }
        // Each alone, in a program that has its share of dropout: the shape is one.
        for (replica, share) in SHARES.into_iter().enumerate() {
            let own = program_with(share);
            assert_eq!(own.shape_digest(), program().shape_digest());
            assert!(trained(engine_of(own, whole, replica..replica + 1, 2), 1, 1)[0] == together[replica]);
        }
        // Parts one after another repeat their forward passes, to the same bits.
        let in_turn = StepPlan { lanes: 1, ..whole };
        assert!(trained(engine(in_turn, 3, 2), 3, 2) == together);
    }

    #[test]
    fn a_replica_that_was_read_and_begun_again_goes_on_to_the_same_bits() {
        let plan = StepPlan { date_rows: ROWS, ..StepPlan::whole(SAMPLES / 2) };
        let whole = trained(engine(plan, 1, 1), 1, 1);
        let mut first = engine(plan, 1, 1);
        // Stopped before the second batch of the second epoch.
        first.epoch(&mut [work(0)], &|| false).unwrap();
        let mut half = EpochWork { batches: Arc::new(work(0).batches[..1].to_vec()), ..work(0) };
        first.epoch(std::slice::from_mut(&mut half), &|| false).unwrap();
        let state = first.end(0).unwrap();
        assert_eq!((state.steps, first.read(0, StateSelection::All).unwrap_err().code()), (3, Code::Internal));
        let mut second = engine(plan, 1, 2);
        let slot = second.slots[0].take().unwrap();
        second.begin(0, &slot.view, &slot.tables, slot.hyperparameters, state).unwrap();
        let mut rest = EpochWork { cursor: 1, loss: half.loss, ..work(0) };
        second.epoch(std::slice::from_mut(&mut rest), &|| false).unwrap();
        second.epoch(&mut [work(0)], &|| false).unwrap();
        assert!(bits(&second.read(0, StateSelection::All).unwrap()) == whole[0]);
        let parameters = second.read(0, StateSelection::Parameters).unwrap();
        assert!(parameters.first.is_empty() && parameters.parameters.len() == program().parameter_count());
    }

    #[test]
    fn a_stop_inside_a_batch_leaves_the_state_before_it() {
        let mut engine = engine(StepPlan::whole(SAMPLES / 2), 1, 1);
        let before = bits(&engine.read(0, StateSelection::All).unwrap());
        let (mut work, calls) = (work(0), AtomicUsize::new(0));
        // The first question is asked before the batch, the others before its ops.
        let stop = || calls.fetch_add(1, Ordering::Relaxed) == 8;
        let error = engine.epoch(std::slice::from_mut(&mut work), &stop).unwrap_err();
        assert_eq!((error.code(), work.cursor, calls.into_inner()), (Code::Cancelled, 0, 9));
        assert!(bits(&engine.read(0, StateSelection::All).unwrap()) == before);
    }
}
