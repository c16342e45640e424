// What this project needs of ECP5's multiplier: two inputs, an output, and a register at each that may be left out.
// Reset comes with the clock and before the enable. A sign is registered with its operand.
module MULT18X18D(
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    output P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
    parameter RESETMODE = "SYNC", GSR = "ENABLED";

    wire [3:0] enables = {CE3, CE2, CE1, CE0}, resets = {RST3, RST2, RST1, RST0};
    wire [18:0] a = {SIGNEDA, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [18:0] b = {SIGNEDB, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire [18:0] left, right;
    port #(19, REG_INPUTA_CLK, REG_INPUTA_CE, REG_INPUTA_RST) of_a(CLK0, enables, resets, a, left);
    port #(19, REG_INPUTB_CLK, REG_INPUTB_CE, REG_INPUTB_RST) of_b(CLK0, enables, resets, b, right);
    wire signed [18:0] x = {left[18] & left[17], left[17:0]}, y = {right[18] & right[17], right[17:0]};
    wire signed [37:0] product = x * y;
    wire [35:0] p;
    port #(36, REG_OUTPUT_CLK, REG_OUTPUT_CE, REG_OUTPUT_RST) of_p(CLK0, enables, resets, product[35:0], p);
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
            P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p;
endmodule

// A register, or a wire where CLOCK is NONE. The letter after CE and RST says which of the four it obeys.
module port #(parameter WIDTH = 1, parameter CLOCK = "NONE", parameter ENABLE = "CE0", parameter RESET = "RST0") (
    input clock, input [3:0] enables, input [3:0] resets, input [WIDTH-1:0] taken, output [WIDTH-1:0] given
);
    localparam [7:0] enable = ENABLE, reset = RESET;
    reg [WIDTH-1:0] kept = 0;
    always @(posedge clock)
        if (resets[reset[1:0]]) kept <= 0;
        else if (enables[enable[1:0]]) kept <= taken;
    assign given = CLOCK == "NONE" ? taken : kept;
endmodule
