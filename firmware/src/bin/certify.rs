//! Certainty on the device: a certificate made there, verified as at boot, refused when a weight is not what it was;
//! solves that cannot fail, and labels of real test digits that are proved. With the instructions of each.

#![no_std]
#![no_main]

use attractor::certificate::NotFinite;
use attractor::{Certificate, CertificateError, Stop, fnn};
use attractor_firmware::counter::instructions;
use attractor_firmware::digits::{SMALL, Small, answer, shown};
use attractor_firmware::{Failure, Place, Random};
use semihosting::println;

attractor_firmware::program!(main);

type Net = fnn![16, 32, 16, 4];

/// The rate feedback is held to.
const RATE: f32 = 0.2;
/// The error asked of every unit.
const ERROR: f32 = 1e-2;

fn main() -> Result<(), Failure> {
    network()?;
    digits()
}

/// The network of `figures`: what everything takes, and what must be refused.
#[inline(never)]
fn network() -> Result<(), Failure> {
    static NET: Place<Net> = Place::new(Net::ZERO);
    let net = NET.take().ok_or(Failure::Taken)?;
    Random::new(7).fill(net.params_mut());
    net.params_mut().iter_mut().for_each(|w| *w *= 0.5);
    let (count, limited) = instructions(|| net.limit_rate(RATE).map(|_| ()));
    limited?;
    println!("net.limit_rate_instructions {count} instructions");
    let (count, made) = instructions(|| certify(net));
    let mut certificate = made?;
    println!("net.certify_instructions {count} instructions");
    let (count, verified) = instructions(|| verify(&certificate, net));
    verified.then_some(()).ok_or(Failure::Wrong("a right certificate is refused", 0))?;
    println!("net.verify_instructions {count} instructions");

    let mut input = [0.0; 16];
    Random::new(9).fill(&mut input);
    let certified = certificate.verify(net)?;
    let mut state = Net::state();
    let (count, answered) = instructions(|| certified.solve(&input, &mut state, ERROR));
    let answered = answered?;
    let most = certificate.sweeps(ERROR, 1.0).ok_or(Failure::Wrong("no worst case", 0))?;
    println!("net.certified_solve_instructions {count} instructions");
    println!("net.certified_solve_sweeps {} sweeps", answered.sweeps);
    println!("net.certified_most_sweeps {most} sweeps");
    if answered.sweeps > most || !(answered.bound.largest() <= ERROR) {
        return Err(Failure::Wrong("a certified solve", answered.sweeps));
    }
    state.reset();
    let (count, label) = instructions(|| certified.label(&input, &mut state));
    println!("net.certified_label_instructions {count} instructions");
    println!("net.certified_label_sweeps {} sweeps", label?.sweeps);

    // A weight that is not what it was, and a vector that is not one.
    let weight = net.params_mut().first_mut().ok_or(Failure::Taken)?;
    *weight += 1.0;
    refused(&certificate, net, "another weight")?;
    *net.params_mut().first_mut().ok_or(Failure::Taken)? -= 1.0;
    let mut scalars = [0.0; Certificate::<Net>::LEN];
    scalars.copy_from_slice(certificate.as_slice());
    scalars[0] = 0.5;
    certificate = Certificate::from_slice(&scalars).map_err(|_| Failure::Taken)?;
    refused(&certificate, net, "a vector below 1")
}

#[inline(never)]
fn certify(net: &Net) -> Result<Certificate<Net>, CertificateError> {
    net.certify()
}

#[unsafe(no_mangle)]
#[inline(never)]
fn verify(certificate: &Certificate<Net>, net: &Net) -> bool {
    certificate.verify(net).is_ok()
}

fn refused(certificate: &Certificate<Net>, net: &Net, what: &'static str) -> Result<(), Failure> {
    if verify(certificate, net) { Err(Failure::Wrong(what, 0)) } else { Ok(()) }
}

/// The network of digits that learns, its feedback held to a rate: how many labels are proved, and none that is not the converged one.
#[inline(never)]
fn digits() -> Result<(), Failure> {
    static NET: Place<Small> = Place::new(Small::ZERO);
    static CERTIFICATE: Place<Option<Certificate<Small>>> = Place::new(None);
    let net = NET.take().ok_or(Failure::Taken)?;
    net.params_mut().copy_from_slice(SMALL.params());
    let certificate = CERTIFICATE.take().ok_or(Failure::Taken)?.insert(net.limit_rate(RATE)?);
    let (count, verified) = instructions(|| certificate.verify(net).map(|_| ()));
    verified?;
    println!("digits.verify_instructions {count} instructions");
    println!("digits.parameters {} parameters", Small::PARAMS);
    let certified = certificate.verify(net)?;
    let mut state = Small::state();
    let (mut all, mut certain, mut sweeps, mut most, mut differ) = (0, 0, 0, 0, 0);
    for digit in shown() {
        state.reset();
        let label = certified.label(&digit.input(), &mut state)?;
        let mut converged = Small::state();
        net.solve(&digit.input(), &mut converged, Stop::after(24)).map_err(|_| NotFinite)?;
        all += 1;
        certain += usize::from(label.certified);
        sweeps += label.sweeps;
        most = label.sweeps.max(most);
        differ += usize::from(label.certified && label.class != answer(converged.output().as_slice()));
    }
    println!("certified labels: {certain} of {all}");
    println!("disagreements: {differ}");
    println!("mean sweeps: {}.{:02}", sweeps / all, sweeps * 100 / all % 100);
    println!("maximum sweeps: {most}");
    if differ > 0 || certain * 100 < all * 99 {
        Err(Failure::Wrong("certified labels", certain))
    } else {
        Ok(())
    }
}
