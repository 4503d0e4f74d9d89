// How reals lie in memory: half precision.
alias Store = f16;
