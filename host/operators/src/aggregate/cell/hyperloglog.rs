//! `approx_count_distinct`: HyperLogLog over xxh3-64 of the canonical key bytes, 4,096 registers: the standard error is
//! 1.6 %, a key costs at most 4 KiB. The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog
//! sketches", 2017, algorithm 6), which needs no tables of corrections and is near exact for small sets.
//!
//! A key with few values lists its registers; from [`SPARSE_MAX`] on it holds them all.
//!
//! Stored: one byte 0, number of registers (u16), and per register that is not zero its number (u16) and rank (u8), by
//! number; or one byte 1 and all 4,096 ranks.

use super::Cell;
use crate::aggregate::argument::{Argument, Values};
use crate::aggregate::slots::take;
use crate::aggregate::value::Value;

/// Bits of the hash that choose a register.
const PRECISION: u32 = 12;

const REGISTERS: usize = 1 << PRECISION;

/// The largest rank: all other bits of the hash are zero.
const RANK_MAX: u8 = 64 - PRECISION as u8 + 1;

/// Registers that are listed; more of them would take as much room as all.
const SPARSE_MAX: usize = REGISTERS / size_of::<u32>();

#[derive(Debug, Clone)]
pub(in crate::aggregate) enum HyperLogLog {
    /// Register number, then 8 bits of rank; ascending.
    Sparse(Vec<u32>),
    Dense(Box<[u8]>),
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl HyperLogLog {
    pub(super) fn add_hash(&mut self, hash: u64) {
        let rank = (hash << PRECISION).leading_zeros().min(64 - PRECISION) as u8 + 1;
        self.raise((hash >> (64 - PRECISION)) as usize, rank);
    }

    fn raise(&mut self, register: usize, rank: u8) {
        match self {
            Self::Dense(ranks) => ranks[register] = ranks[register].max(rank),
            Self::Sparse(entries) => {
                let entry = (register as u32) << 8 | u32::from(rank);
                let at = entries.partition_point(|held| held >> 8 < register as u32);
                match entries.get_mut(at) {
                    Some(held) if *held >> 8 == register as u32 => *held = (*held).max(entry),
                    _ => entries.insert(at, entry),
                }
                if entries.len() > SPARSE_MAX {
                    let mut ranks = vec![0; REGISTERS].into_boxed_slice();
                    entries.iter().for_each(|entry| ranks[(entry >> 8) as usize] = *entry as u8);
                    *self = Self::Dense(ranks);
                }
            }
        }
    }

    /// How many registers have each rank.
    fn histogram(&self) -> [usize; RANK_MAX as usize + 1] {
        let mut registers = [0; RANK_MAX as usize + 1];
        match self {
            Self::Sparse(entries) => {
                registers[0] = REGISTERS - entries.len();
                entries.iter().for_each(|entry| registers[usize::from(*entry as u8)] += 1);
            }
            Self::Dense(ranks) => ranks.iter().for_each(|rank| registers[usize::from(*rank)] += 1),
        }
        registers
    }

    pub(super) fn estimate(&self) -> f64 {
        let registers = self.histogram();
        let (m, highest) = (REGISTERS as f64, usize::from(RANK_MAX));
        let mut z = m * tau(1.0 - registers[highest] as f64 / m);
        for rank in (1..highest).rev() {
            z = 0.5 * (z + registers[rank] as f64);
        }
        z += m * sigma(registers[0] as f64 / m);
        m * m / (2.0 * std::f64::consts::LN_2 * z)
    }
}

/// `x + sum of x^(2^k) * 2^(k - 1)`, to the last bit.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// `(1 - x - sum of (1 - x^(2^-k))^2 * 2^-k) / 3`, to the last bit.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

impl Cell for HyperLogLog {
    type Settings = ();

    fn add(&mut self, (): &(), argument: &Argument, row: usize) {
        let Values::Canonical(values) = &argument.values else {
            unreachable!("distinct values are told apart by canonical bytes")
        };
        self.add_hash(values.hashes()[row]);
    }

    fn merge(&mut self, (): &(), other: &Self) {
        match other {
            Self::Sparse(entries) => {
                entries.iter().for_each(|entry| self.raise((entry >> 8) as usize, *entry as u8));
            }
            Self::Dense(ranks) => {
                ranks.iter().enumerate().filter(|(_, rank)| **rank > 0).for_each(|(at, rank)| self.raise(at, *rank));
            }
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Sparse(entries) => {
                bytes.push(0);
                bytes.extend_from_slice(&(entries.len() as u16).to_le_bytes());
                for entry in entries {
                    bytes.extend_from_slice(&((entry >> 8) as u16).to_le_bytes());
                    bytes.push(*entry as u8);
                }
            }
            Self::Dense(ranks) => {
                bytes.push(1);
                bytes.extend_from_slice(ranks);
            }
        }
    }

    fn read((): &(), rest: &mut &[u8]) -> Result<Self, String> {
        let mut read = Self::default();
        let [form] = take(rest)?;
        let count = match form {
            0 => usize::from(u16::from_le_bytes(take(rest)?)),
            1 => REGISTERS,
            other => return Err(format!("{other} stands where 0 or 1 must")),
        };
        for register in 0..count {
            let register = if form == 1 { register } else { usize::from(u16::from_le_bytes(take(rest)?)) };
            let [rank] = take(rest)?;
            if register >= REGISTERS || rank > RANK_MAX || (rank == 0 && form == 0) {
                return Err(format!("register {register} cannot have rank {rank}"));
            }
            if rank > 0 {
                read.raise(register, rank);
            }
        }
        Ok(read)
    }

    fn value(&self, (): &()) -> Value<'_> {
        Value::I64(self.estimate().round() as i64)
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Sparse(entries) => entries.capacity() * size_of::<u32>(),
            Self::Dense(ranks) => ranks.len(),
        }
    }
}
