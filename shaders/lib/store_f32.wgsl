// How reals lie in memory: single precision.
alias Store = f32;
