-- An entry of an action is there once, however often it is added; older entries have no action_id.
CREATE UNIQUE INDEX audit_once ON audit (note ->> 'action_id', note ->> 'stage');
