"""What is kept of a picture after its coarse pass, so that more can be asked of it without its pixels."""
