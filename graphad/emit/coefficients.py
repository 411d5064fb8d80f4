"""Written by `python -m tests.fit_coefficients`: polynomials, lowest first."""
# The error is that of the exact polynomial, before its coefficients are rounded.


def _numbers(*texts):
    return tuple(float.fromhex(t) for t in texts)


# error 1.02e-16 on -0.34661, 0.34661
EXP_F8 = _numbers(
    "0x1.0000000000001p-1",
    "0x1.5555555555558p-3",
    "0x1.5555555553d62p-5",
    "0x1.111111110f803p-7",
    "0x1.6c16c1788c44dp-10",
    "0x1.a01a01b00c2c6p-13",
    "0x1.a019b90bc3fbdp-16",
    "0x1.71ddf6b3f10d1p-19",
    "0x1.289186d6aea07p-22",
    "0x1.af632ad6abee8p-26",
)
# error 6.23e-8 on -0.34661, 0.34661
EXP_F4 = _numbers(
    "0x1.0000000000000p-1",
    "0x1.5554dc0000000p-3",
    "0x1.5554b80000000p-5",
    "0x1.120b780000000p-7",
    "0x1.6d75480000000p-10",
)
# error 2.54e-17 on 0.0, 0.64
SIN_F8 = _numbers(
    "-0x1.5555555555554p-3",
    "0x1.1111111110a9ep-7",
    "-0x1.a01a019e43879p-13",
    "0x1.71de3744dead8p-19",
    "-0x1.ae5fb771b4483p-26",
    "0x1.5ded8acbd06e5p-33",
)
# error 3.25e-11 on 0.0, 0.64
SIN_F4 = _numbers(
    "-0x1.5555560000000p-3",
    "0x1.11110e0000000p-7",
    "-0x1.a0132c0000000p-13",
    "0x1.6d96e60000000p-19",
)
# error 1.59e-18 on 0.0, 0.64
COS_F8 = _numbers(
    "0x1.5555555555555p-5",
    "-0x1.6c16c16c168dcp-10",
    "0x1.a01a019f2e92fp-16",
    "-0x1.27e4f9eef6538p-22",
    "0x1.1eeb3f12d300ap-29",
    "-0x1.90600aa4792d4p-37",
)
# error 2.71e-12 on 0.0, 0.64
COS_F4 = _numbers(
    "0x1.5555560000000p-5",
    "-0x1.6c16c00000000p-10",
    "0x1.a015720000000p-16",
    "-0x1.250a260000000p-22",
)
# error 2.97e-17 on 0.0, 0.17164
ATAN_F8 = _numbers(
    "-0x1.5555555555555p-2",
    "0x1.99999999993a2p-3",
    "-0x1.249249243a252p-3",
    "0x1.c71c71878fabbp-4",
    "-0x1.745d0b7fcc5a2p-4",
    "0x1.3b126a5dffb16p-4",
    "-0x1.10fad82139feep-4",
    "0x1.dfec697f1af28p-5",
    "-0x1.a0b7b4842221dp-5",
    "0x1.41b49e9a91cb9p-5",
    "-0x1.3aef0410e4f69p-6",
)
# error 1.47e-8 on 0.0, 0.17164
ATAN_F4 = _numbers(
    "-0x1.5555540000000p-2",
    "0x1.99974a0000000p-3",
    "-0x1.2422fa0000000p-3",
    "0x1.b8433a0000000p-4",
    "-0x1.08d89e0000000p-4",
)
# error 1.33e-17 on 0.0, 0.25
ASIN_F8 = _numbers(
    "0x1.5555555555556p-3",
    "0x1.3333333332e3fp-4",
    "0x1.6db6db6e3eebep-5",
    "0x1.f1c71c16176eap-6",
    "0x1.6e8bb2ee11010p-6",
    "0x1.1c4d1b9cc47e8p-6",
    "0x1.c9d1fd02b3227p-7",
    "0x1.780a2925ccf7cp-7",
    "0x1.52f4bab89dbdep-7",
    "0x1.5fd03c9360858p-8",
    "0x1.20fb468869f69p-6",
    "-0x1.f2869295a8db2p-7",
    "0x1.db2081c4ba9bcp-6",
)
# error 3.72e-9 on 0.0, 0.25
ASIN_F4 = _numbers(
    "0x1.5555540000000p-3",
    "0x1.3334480000000p-4",
    "0x1.6d55e60000000p-5",
    "0x1.fe10e00000000p-6",
    "0x1.169ed60000000p-6",
    "0x1.15e2200000000p-5",
)
# error 3.47e-19 on 0.0, 1.0
SINH_F8 = _numbers(
    "0x1.5555555555555p-3",
    "0x1.11111111110fdp-7",
    "0x1.a01a01a01ee80p-13",
    "0x1.71de3a4e13e7dp-19",
    "0x1.ae6460fbe6130p-26",
    "0x1.611cb2bdce3a5p-33",
    "0x1.b4125921572dcp-41",
)
# error 1.99e-10 on 0.0, 1.0
SINH_F4 = _numbers(
    "0x1.5555560000000p-3",
    "0x1.11111e0000000p-7",
    "0x1.a008fc0000000p-13",
    "0x1.78a7c20000000p-19",
)
# error 1.88e-18 on 0.0, 0.0295
LOG_TAIL_F8 = _numbers(
    "0x1.999999999999ap-2",
    "0x1.2492492492525p-2",
    "0x1.c71c71c6e999dp-3",
    "0x1.745d177b75882p-3",
    "0x1.3b13957813984p-3",
    "0x1.1118da701fb16p-3",
    "0x1.df79021a48767p-4",
    "0x1.e055001c98b13p-4",
)
# error 1.53e-7 on 0.0, 0.0295
LOG_TAIL_F4 = _numbers(
    "0x1.9999a40000000p-2",
    "0x1.2479f40000000p-2",
    "0x1.d8198e0000000p-3",
)
# error 0.000671 on 0.353, 2.829
CBRT_F8 = _numbers(
    "0x1.ad7417abb4140p-2",
    "0x1.07bfde76cc269p+0",
    "-0x1.718a02c08be0ap-1",
    "0x1.6cdd3127bddc3p-2",
    "-0x1.7fe255b7059ebp-4",
    "0x1.444002648e750p-7",
)
# error 0.00179 on 0.353, 2.829
CBRT_F4 = _numbers(
    "0x1.cbc7240000000p-2",
    "0x1.c053500000000p-1",
    "-0x1.c78c840000000p-2",
    "0x1.1d3d820000000p-3",
    "-0x1.1b12040000000p-6",
)
# error 3.99e-17 on 0.0, 0.81
ERF_F8 = _numbers(
    "0x1.baea08536d9c7p-9",
    "-0x1.812746b03790fp-2",
    "0x1.ce2f21a038443p-4",
    "-0x1.b82ce30f5c829p-6",
    "0x1.565bcc902cf8fp-8",
    "-0x1.c02d9d13fdb0bp-11",
    "0x1.f9a08d4090ea3p-14",
    "-0x1.f4a1aebdd1b0bp-17",
    "0x1.b7999c4403e22p-20",
    "-0x1.4ded13a35a2f7p-23",
    "0x1.60e07f49c7c73p-27",
)
# error 1.18e-8 on 0.0, 0.81
ERF_F4 = _numbers(
    "0x1.bae9a40000000p-9",
    "-0x1.8127000000000p-2",
    "0x1.ce1ec20000000p-4",
    "-0x1.b6cbaa0000000p-6",
    "0x1.48be4e0000000p-8",
    "-0x1.4068300000000p-11",
)
# error 5.23e-17 on -1.0, 0.765
ERFCX_F8 = _numbers(
    "0x1.3ba5916e9fd7fp+0",
    "-0x1.1df1ad154a2a3p-3",
    "0x1.f7f5df66fb54ap-7",
    "0x1.16ecefcfa6450p-4",
    "-0x1.9ddb23c3da853p-4",
    "0x1.7fee004df39f7p-4",
    "-0x1.0fb06dff7de1ep-4",
    "0x1.3079edf98fcd4p-5",
    "-0x1.09623850389d3p-6",
    "0x1.49c671ea5c45fp-8",
    "-0x1.8d4ac44949d03p-11",
    "-0x1.a1dee7ba2ef81p-13",
    "0x1.3be2e2afe5701p-13",
    "-0x1.995b0a71a8314p-16",
    "-0x1.78f09f7b0c426p-17",
    "0x1.7f0bed3e3fc1dp-18",
    "0x1.4f5b9370fffe1p-22",
    "-0x1.b7c22e92c65fcp-21",
    "0x1.e8b23ce49e635p-25",
    "0x1.b3c6b1a7cadc5p-24",
    "-0x1.2e17d92daf1d2p-27",
    "-0x1.28b8703a95440p-27",
)
# error 6.1e-10 on -1.0, 0.765
ERFCX_F4 = _numbers(
    "0x1.3ba5920000000p+0",
    "-0x1.1df1ac0000000p-3",
    "0x1.f7f6140000000p-7",
    "0x1.16ec960000000p-4",
    "-0x1.9ddba80000000p-4",
    "0x1.7ff1cc0000000p-4",
    "-0x1.0fac580000000p-4",
    "0x1.30568c0000000p-5",
    "-0x1.09a1740000000p-6",
    "0x1.4c50440000000p-8",
    "-0x1.7d81200000000p-11",
    "-0x1.ffb0a80000000p-13",
    "0x1.fc06d40000000p-14",
)
# error 3.11e-16 on 0.0, 0.0295
LOG_F8 = _numbers(
    "0x1.5555555555558p-1",
    "0x1.999999999513fp-2",
    "0x1.2492492e1d0c0p-2",
    "0x1.c71c62b0431adp-3",
    "0x1.7462c33b8967ep-3",
    "0x1.39fc8c5848f0ap-3",
    "0x1.2b6e3dfb1a4c7p-3",
)
# error 1.87e-7 on 0.0, 0.0295
LOG_F4 = _numbers(
    "0x1.55555c0000000p-1",
    "0x1.997be60000000p-2",
    "0x1.2ef1600000000p-2",
)
HALF_PI_F8 = _numbers(
    "0x1.921fb54442d18p+0",
    "0x1.1a62633145c07p-54",
    "-0x1.f1976b7ed8fbcp-110",
    "0x1.4cf98e8040000p-164",
)
HALF_PI_F4 = _numbers(
    "0x1.921fb60000000p+0",
    "-0x1.777a5c0000000p-25",
    "-0x1.ee59da0000000p-50",
    "0x1.98a2e00000000p-77",
)
LN2_F8 = _numbers(
    "0x1.62e42fefa39efp-1",
    "0x1.abc9e3b39803fp-56",
    "0x1.7b57a079a1934p-111",
)
LN2_F4 = _numbers(
    "0x1.62e4300000000p-1",
    "-0x1.05c6100000000p-29",
    "-0x1.950d880000000p-54",
)
INV_LN2_F8 = _numbers(
    "0x1.71547652b82fep+0",
    "0x1.777d0ffda0d24p-56",
)
INV_LN2_F4 = _numbers(
    "0x1.7154760000000p+0",
    "0x1.4ae0c00000000p-26",
)
INV_LN10_F8 = _numbers(
    "0x1.bcb7b1526e50ep-2",
    "0x1.95355baaafad3p-57",
)
INV_LN10_F4 = _numbers(
    "0x1.bcb7b20000000p-2",
    "-0x1.5b235e0000000p-27",
)
LOG10_2_F8 = _numbers(
    "0x1.34413509f79ffp-2",
    "-0x1.9dc1da994fd21p-59",
)
LOG10_2_F4 = _numbers(
    "0x1.3441360000000p-2",
    "-0x1.ec10c00000000p-27",
)
TWO_THIRDS_F8 = _numbers(
    "0x1.5555555555555p-1",
    "0x1.5555555555555p-55",
)
TWO_THIRDS_F4 = _numbers(
    "0x1.5555560000000p-1",
    "-0x1.5555560000000p-26",
)
ROOT_HALF_F8 = _numbers(
    "0x1.6a09e667f3bcdp-1",
    "-0x1.bdd3413b26456p-55",
)
ROOT_HALF_F4 = _numbers(
    "0x1.6a09e60000000p-1",
    "0x1.9fcef40000000p-27",
)
