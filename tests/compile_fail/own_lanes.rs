use attractor::simd::{Blocking, Lanes, Portable, Routine};

/// Wider than any array the kernels keep their lanes in.
#[derive(Clone, Copy)]
struct Wide;

type Vector = [f32; 32];

impl Lanes<f32> for Wide {
    type Vector = Vector;
    type Mask = [bool; 32];
    type Narrow = Portable;
    const WIDTH: usize = 32;
    const BLOCKING: Blocking = Blocking { rows: 4, outlined: false, split: false, tile_vectors: 2, tile_columns: 4, tall_vectors: 2, tall_columns: 4 };

    fn narrow(self) -> Portable {
        Portable
    }
    fn splat(self, x: f32) -> Vector {
        [x; 32]
    }
    unsafe fn load(self, from: *const f32) -> Vector {
        unsafe { from.cast::<Vector>().read() }
    }
    unsafe fn load_partial(self, _: *const f32, _: usize) -> Vector {
        [0.0; 32]
    }
    unsafe fn store(self, to: *mut f32, v: Vector) {
        unsafe { to.cast::<Vector>().write(v) }
    }
    unsafe fn store_partial(self, _: *mut f32, _: Vector, _: usize) {}
    fn add(self, a: Vector, _: Vector) -> Vector {
        a
    }
    fn sub(self, a: Vector, _: Vector) -> Vector {
        a
    }
    fn mul(self, a: Vector, _: Vector) -> Vector {
        a
    }
    fn div(self, a: Vector, _: Vector) -> Vector {
        a
    }
    fn mul_add(self, a: Vector, _: Vector, _: Vector) -> Vector {
        a
    }
    fn min(self, a: Vector, _: Vector) -> Vector {
        a
    }
    fn max(self, a: Vector, _: Vector) -> Vector {
        a
    }
    fn sqrt(self, a: Vector) -> Vector {
        a
    }
    fn abs(self, a: Vector) -> Vector {
        a
    }
    fn copy_sign(self, a: Vector, _: Vector) -> Vector {
        a
    }
    fn less(self, _: Vector, _: Vector) -> [bool; 32] {
        [false; 32]
    }
    fn select(self, _: [bool; 32], yes: Vector, _: Vector) -> Vector {
        yes
    }
    fn vectorize<R: Routine<Self>>(self, routine: R) -> R::Output {
        routine.run(self)
    }
}

fn main() {}
