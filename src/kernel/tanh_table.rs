//! The coefficients of the `f32` tanh. See `Scalar::tanh` in `activation` for how they are used.
//!
//! The segments of a = |x|, in the order of the index (exponent and first fraction bit of a + 1, low three bits):
//! [1, 2), [2, 3), [3, 5), [5, 7), [7, MAX], unused, [0, 1/2), [1/2, 1). On each a minimax polynomial about the
//! anchor, which lies at or just past the right end of its segment, so that nothing cancels where the curve is flat,
//! at a point whose tanh is a float to within 0.015 of its last place. Fitted by Lawson's iteration at 120 bits,
//! coefficients rounded one after the other, the rest fitted anew; neighbouring segments meet within 3e-9.

/// Where tanh has become 1.
pub(super) const MAX: f32 = 9.010915e0;
/// A column for every segment: the point its polynomial is about, then the polynomial, constant term first.
pub(super) const ROWS: [[f32; 8]; ENTRIES] = [
    [2.0024414e0, 3.0498047e0, 5.0117188e0, 7.0351562e0, 9.010915e0, 9.010915e0, 0.0e0, 8.6279297e-1],
    [9.6419966e-1, 9.9552256e-1, 9.999113e-1, 9.9999845e-1, 1.0e0, 1.0e0, 0.0e0, 6.976939e-1],
    [7.031664e-2, 8.934687e-3, 1.789223e-4, 3.142111e-6, 8.982264e-8, 8.982264e-8, 0.0e0, 5.132233e-1],
    [
        -6.786273e-2,
        -8.8981595e-3,
        -1.589637e-4,
        -2.6606235e-6,
        -4.5344564e-8,
        -4.5344564e-8,
        -3.7680168e-6,
        -3.5807252e-1,
    ],
    [
        4.140195e-2,
        5.8525796e-3,
        1.9211844e-4,
        3.7331818e-6,
        6.73357e-8,
        6.73357e-8,
        -3.3319074e-1,
        7.8744635e-2,
    ],
    [
        -2.002323e-2,
        -2.9655006e-3,
        7.991565e-5,
        1.9784559e-6,
        3.1813936e-8,
        3.1813936e-8,
        -1.7841465e-3,
        6.435189e-2,
    ],
    [
        3.6293447e-6,
        9.800486e-4,
        1.5997706e-4,
        3.271065e-6,
        5.8332766e-8,
        5.8332766e-8,
        1.4342825e-1,
        -5.9730086e-2,
    ],
    [
        -5.759943e-3,
        -4.4367177e-4,
        6.180292e-5,
        1.2761869e-6,
        2.286883e-8,
        2.286883e-8,
        -2.7671654e-2,
        1.4793863e-2,
    ],
    [
        -3.7860412e-3,
        6.5440116e-5,
        1.8175115e-5,
        3.511503e-7,
        6.5110997e-9,
        6.5110997e-9,
        -2.1928387e-2,
        2.1413751e-2,
    ],
];
/// The same with a row for every segment.
pub(super) const COLUMNS: [[f32; ENTRIES]; 8] = {
    let mut columns = [[0.0; ENTRIES]; 8];
    let mut i = 0;
    while i < 8 * ENTRIES {
        columns[i % 8][i / 8] = ROWS[i / 8][i % 8];
        i += 1;
    }
    columns
};
/// An anchor and eight coefficients.
pub(super) const ENTRIES: usize = 9;
