"""The paper's comparison on our data: mask heads trained side by side over one frozen backbone and detector."""
