"""Learners trained side by side in one process: each optimizer step is taken for all of them at once.

`FusedGroup(lanes).train_epoch()` gives what `learner.epoch()` of each lane gives, sooner. On the CPU, with
one thread and the chain engine, it gives the same bits, whatever the company: who shares the group, in which
order, and who joins or leaves between two epochs changes no number of any other lane. A learner stays the
owner of its state: its parameters, its optimizer's state and its schedule are where they always were (views
of the group's memory), so checkpoints, evaluation and PBT's copies need not know of this package.

eligibility.py     which learners can be fused with which, or one line that says why one cannot
layer_chain.py     a net read as a chain of layers
parameter_bank.py  the parameters of all lanes, one tensor for each shape
batched_ops.py     batched products and reductions that have the bits of single ones
chain_engine.py    losses and gradients of nets that are chains, to the last bit
stacked_layers.py  the layers of that engine
vmap_engine.py     losses and gradients of any other net, within a tolerance
stacked_losses.py  a criterion for all lanes
stacked_optimizers.py, stacked_splus.py  an optimizer step for all lanes
lane_stack.py      lanes arranged for one of the engines, and one step of all of them
group.py           the group: lanes join, train an epoch and leave
"""

from trainables.fused.eligibility import FusionKey as FusionKey
from trainables.fused.eligibility import NotFusible as NotFusible
from trainables.fused.eligibility import fusion_key as fusion_key
from trainables.fused.eligibility import fusion_obstacle as fusion_obstacle
from trainables.fused.group import FusedGroup as FusedGroup
from trainables.fused.group import Lane as Lane
