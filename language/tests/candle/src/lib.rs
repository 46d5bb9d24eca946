//! Only its tests are of use.
