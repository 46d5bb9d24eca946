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
/// The same with sixteen segments and polynomials of degree five, for backends that look up sixteen entries at once.
///
/// The segments, in the order of the index (exponent and first two fraction bits of a + [`OFFSET`], low four bits): [1.375, 1.875) and three
/// more of 1/2, [3.375, 4.375) and three more of 1, [7.375, MAX], [0, 1/8), [1/8, 1/4), [1/4, 3/8), [0.375, 0.625) and three more of 1/4. With 1 in the place of
/// the offset the worst error would be three times as large. Fitted as those above, the last one to a curve that has become 1 at MAX; neighbouring segments meet
/// within 3e-9.
#[rustfmt::skip]
pub(super) const QUARTERS: [[f32; 16]; 7] = [
    [
        1.8750024e0, 2.375017e0, 2.8750026e0, 3.375003e0, 4.375021e0, 5.375388e0, 6.376906e0, 7.3812885e0,
        9.010915e0, 0.0e0, 2.500003e-1, 3.750007e-1, 6.2502e-1, 8.750017e-1, 1.1250007e0, 1.3750014e0,
    ],
    [
        9.540455e-1, 9.828456e-1, 9.9365467e-1, 9.97661e-1, 9.9968314e-1, 9.9995714e-1, 9.999942e-1, 9.999992e-1,
        1.0e0, 0.0e0, 2.4491894e-1, 3.58358e-1, 5.546136e-1, 7.039065e-1, 8.093013e-1, 8.79827e-1,
    ],
    [
        8.979388e-2, 3.401496e-2, 1.2650966e-2, 4.6728165e-3, 6.3562393e-4, 8.6007225e-5, 1.1621043e-5, 1.5909131e-6,
        1.1870387e-7, 0.0e0, 9.400147e-1, 8.715796e-1, 6.924051e-1, 5.0451577e-1, 3.4503087e-1, 2.2590399e-1,
    ],
    [
        -8.5758545e-2, -3.3417773e-2, -1.2555239e-2, -4.654508e-3, -6.0689653e-4, -8.1927625e-5, -1.0963265e-5, -1.226301e-6,
        8.8976035e-9, 3.499574e-7, -2.3022416e-1, -3.1233197e-1, -3.839458e-1, -3.5513005e-1, -2.792621e-1, -1.9877918e-1,
    ],
    [
        5.106686e-2, 2.1646038e-2, 8.4039355e-3, 3.1544808e-3, 5.348391e-4, 7.300056e-5, 1.0063396e-5, 2.0180644e-6,
        1.3474694e-7, -3.3335778e-1, -2.5679436e-1, -1.783809e-1, -1.6594883e-2, 8.179315e-2, 1.1047214e-1, 9.917844e-2,
    ],
    [
        -2.3421835e-2, -9.475342e-3, -3.535016e-3, -1.3024776e-3, -7.2839853e-6, -1.8935658e-7, 1.9008782e-7, 7.729032e-7,
        7.2462065e-8, 5.0649245e-4, 1.4255142e-1, 1.7169558e-1, 1.4699404e-1, 6.025094e-2, -7.0837885e-4, -2.433062e-2,
    ],
    [
        1.1019916e-3, 4.446014e-3, 2.3624583e-3, 9.782631e-4, 2.3741953e-4, 3.2646036e-5, 4.487508e-6, 8.9475293e-7,
        4.645042e-8, 1.29829e-1, 9.531601e-2, 4.4942718e-2, -2.6276963e-2, -6.315535e-2, -4.6225213e-2, -1.9396158e-2,
    ],
];
/// What is added to a before its bits are an index of [`QUARTERS`].
pub(super) const OFFSET: f32 = 0.625;
