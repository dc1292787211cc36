//! A counter-based random generator without state: each draw is a function of seed, stream, step and position, so it
//! does not depend on earlier draws, on the thread or on how a batch is cut into micro-batches.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel Random Numbers: As Easy as 1, 2, 3").

use pulp::{Simd, WithSimd};

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// One Philox block: 4 x 32 random bits from a counter and a key.
pub(crate) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let first = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

/// Philox blocks that are computed together.
const LANES: usize = 16;

/// The random sequence of one stream at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    seed: u64,
    stream: u32,
    step: u32,
}

impl Random {
    /// The sequence of `stream` (one per use: initialisation, shuffling, each dropout op) at `step`.
    pub const fn new(seed: u64, stream: u32, step: u32) -> Self {
        Self { seed, stream, step }
    }

    /// 32 random bits at a position.
    pub fn bits(&self, position: u64) -> u32 {
        let block = position / 4;
        let counter = [block as u32, (block >> 32) as u32, self.step, self.stream];
        philox(counter, [self.seed as u32, (self.seed >> 32) as u32])[(position % 4) as usize]
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴.
    pub fn uniform(&self, position: u64) -> f32 {
        (self.bits(position) >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Fills `out` with [`Random::uniform`] at the positions `first`, `first + 1` and so on, many blocks at a time.
    pub fn fill_uniform(&self, first: u64, out: &mut [f32]) {
        // Compiled for the widest vectors of the machine; integer arithmetic gives the same bits at every width.
        pulp::Arch::new().dispatch(FillUniform { random: self, first, out });
    }

    /// The blocks `block..block + LANES`, as `[word of the block, block]`.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn blocks(&self, block: u64) -> [[u32; LANES]; 4] {
        let mut counters = [[0; LANES], [0; LANES], [self.step; LANES], [self.stream; LANES]];
        let [low, high, ..] = &mut counters;
        for (lane, (low, high)) in low.iter_mut().zip(high).enumerate() {
            let block = block + lane as u64;
            (*low, *high) = (block as u32, (block >> 32) as u32);
        }
        let mut key = [self.seed as u32, (self.seed >> 32) as u32];
        for round in 0..10 {
            if round > 0 {
                key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
            }
            let [zero, one, two, three] = &mut counters;
            for lane in 0..LANES {
                let first = u64::from(MULTIPLIERS[0]) * u64::from(zero[lane]);
                let second = u64::from(MULTIPLIERS[1]) * u64::from(two[lane]);
                zero[lane] = (second >> 32) as u32 ^ one[lane] ^ key[0];
                two[lane] = (first >> 32) as u32 ^ three[lane] ^ key[1];
                (one[lane], three[lane]) = (second as u32, first as u32);
            }
        }
        counters
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³; positions are those of [`Random::bits`] taken in pairs.
    pub fn uniform_f64(&self, position: u64) -> f64 {
        let (high, low) = (self.bits(2 * position), self.bits(2 * position + 1));
        ((u64::from(high) << 21) ^ (u64::from(low) >> 11)) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Standard normal, by the Box-Muller transform of two uniform draws.
    pub fn normal(&self, position: u64) -> f64 {
        let (one, two) = (self.uniform_f64(2 * position), self.uniform_f64(2 * position + 1));
        (-2.0 * (1.0 - one).ln()).sqrt() * (2.0 * std::f64::consts::PI * two).cos()
    }

    /// A random permutation of `0..count` (Fisher-Yates shuffle).
    pub fn permutation(&self, count: usize) -> Vec<usize> {
        let mut out: Vec<usize> = (0..count).collect();
        for index in (1..count).rev() {
            // With 53 random bits the bias is negligible for counts below 2³².
            let other = (self.uniform_f64(index as u64) * (index + 1) as f64) as usize;
            out.swap(index, other.min(index));
        }
        out
    }
}

/// Draws many numbers. Not a closure: its body would be compiled without vectors.
struct FillUniform<'a> {
    random: &'a Random,
    first: u64,
    out: &'a mut [f32],
}

impl WithSimd for FillUniform<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { random, first, out } = self;
        let uniform = |bits: u32| (bits >> 8) as f32 * (1.0 / 16_777_216.0);
        // Up to the first whole block.
        let head = ((4 - first % 4) % 4).min(out.len() as u64) as usize;
        let (head, body) = out.split_at_mut(head);
        for (position, out) in (first..).zip(&mut *head) {
            *out = random.uniform(position);
        }
        let first = first + head.len() as u64;
        for (chunk, out) in (0_u64..).zip(body.chunks_mut(4 * LANES)) {
            let bits = random.blocks(first / 4 + chunk * LANES as u64);
            let mut values = [0.0; 4 * LANES];
            for block in 0..LANES {
                for word in 0..4 {
                    values[4 * block + word] = uniform(bits[word][block]);
                }
            }
            out.copy_from_slice(&values[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, philox};

    /// The test vectors that the authors publish with their generator (Random123, `kat_vectors`).
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let expected = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        assert_eq!(philox(counter, [0xa409_3822, 0x299f_31d0]), expected);
    }

    #[test]
    fn fill_uniform_equals_uniform_position_by_position() {
        for (seed, first, count) in [(7, 0, 1), (7, 3, 200), (u64::MAX, (1 << 34) - 5, 67), (1, 64, 64)] {
            let random = Random::new(seed, 9, 4);
            let mut out = vec![0.0; count];
            random.fill_uniform(first, &mut out);
            assert!((0..count).all(|index| out[index] == random.uniform(first + index as u64)), "{seed} {first}");
        }
    }

    #[test]
    fn draws_follow_their_distributions_and_permutations_are_complete() {
        let random = Random::new(7, 1, 0);
        let count = 40_000;
        let mean = (0..count).map(|position| f64::from(random.uniform(position))).sum::<f64>() / count as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let normal: Vec<f64> = (0..count).map(|position| random.normal(position)).collect();
        let mean = normal.iter().sum::<f64>() / count as f64;
        let variance = normal.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let mut sorted = random.permutation(1000);
        assert_ne!(sorted, (0..1000).collect::<Vec<_>>());
        assert_ne!(sorted, Random::new(7, 1, 1).permutation(1000));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    }
}
