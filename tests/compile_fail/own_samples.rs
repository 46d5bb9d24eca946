use attractor::Samples;
use attractor::kernel::Matrix;

/// Two values that say they are three.
struct Short([f32; 2]);

impl Samples<f32, 3, 1> for Short {
    fn samples(&self) -> Matrix<'_, f32> {
        Matrix::new(&self.0, 1, 2).unwrap()
    }
}

fn main() {}
